"""Two processes take two flocks in opposite order. The kernel detects such cycles among fcntl locks only."""
import fcntl
from parts import ROLE, ready, start, wait_for
EXPECT = {"verdict": "deadlock", "class": "file-lock", "waiter": ["left", "right"], "holder": ["left", "right"]}

if ROLE == "root":
    workers = [start(role) for role in ("left", "right")]
    for worker in workers:
        worker.wait()
else:
    own, other = ("a", "b") if ROLE == "left" else ("b", "a")
    first = open(own, "w")
    fcntl.flock(first, fcntl.LOCK_EX)
    open(own + ".taken", "w").close()
    wait_for(other + ".taken")
    second = open(other, "w")
    ready()
    fcntl.flock(second, fcntl.LOCK_EX)
