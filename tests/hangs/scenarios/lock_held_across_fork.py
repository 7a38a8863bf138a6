"""A fork of a program with threads: the lock was held by a thread that fork did not copy, so nobody in the child releases it."""
import os, sys, threading, time
EXPECT = {"verdict": "orphaned-wait", "class": "futex-orphan", "waiter": "root"}

lock = threading.Lock()


def hold():
    with lock:
        time.sleep(600)


threading.Thread(target=hold, daemon=True).start()
while not lock.locked():
    time.sleep(0.01)
child = os.fork()
if child == 0:
    open(os.environ["READY"], "w").close()
    lock.acquire()
else:
    os.waitpid(child, 0)
