"""A process waits for a lock whose holder sleeps for a minute in its critical section, and then releases it."""
import fcntl, time
from parts import ROLE, ready, run, start
EXPECT = {
    "verdict": "not-hung",
    "known_gap": "a holder that sleeps for longer than 10 s in its critical section is taken for one that never releases it",
}

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
