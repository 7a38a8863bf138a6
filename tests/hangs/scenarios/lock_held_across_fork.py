"""A program with threads forks while a thread holds a lock. The child has no copy of that thread to release it."""
import os, threading, time
from parts import ready
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
    ready()
    lock.acquire()
else:
    os.waitpid(child, 0)
