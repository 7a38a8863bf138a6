"""A process waits for a lock whose holder sleeps for a minute in its critical section, and then releases it."""
import fcntl, time
from parts import ROLE, ready, run, start
EXPECT = {"verdict": "idle"}

lock = open("lock", "w")
if ROLE == "waiter":
    fcntl.flock(lock, fcntl.LOCK_EX)
else:
    fcntl.flock(lock, fcntl.LOCK_EX)
    start("waiter")
    ready()
    while True:
        time.sleep(60)
        fcntl.flock(lock, fcntl.LOCK_UN)
        fcntl.flock(lock, fcntl.LOCK_EX)
