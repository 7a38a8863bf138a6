"""A process waits for a lock whose holder works."""
import fcntl, os, time
from parts import ROLE, ready, run, start, wait_for
EXPECT = {"verdict": "idle"}

if ROLE == "worker":
    lock = open("lock", "w")
    fcntl.flock(lock, fcntl.LOCK_EX)
    ready()
    while True:
        time.sleep(0.05)
elif ROLE == "waiter":
    lock = open("lock", "w")
    fcntl.flock(lock, fcntl.LOCK_EX)
else:
    worker = start("worker")
    wait_for(os.environ["READY"])
    run("waiter")
