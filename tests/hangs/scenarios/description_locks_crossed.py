"""Two processes take two open file description locks in opposite order. The kernel detects no deadlock among these."""
import fcntl, os, struct
from parts import ROLE, ready, start, wait_for
EXPECT = {"verdict": "deadlock", "class": "file-lock", "waiter": ["left", "right"], "holder": ["left", "right"]}
F_OFD_SETLKW = 38


def lock(name):
    file = os.open(name, os.O_RDWR | os.O_CREAT)
    fcntl.fcntl(file, F_OFD_SETLKW, struct.pack("hhqqi4x", fcntl.F_WRLCK, 0, 0, 0, 0))


def take(first, second):
    lock(first)
    open(first + ".held", "w").close()
    wait_for(second + ".held")
    ready()
    lock(second)


if ROLE == "left":
    take("a", "b")
elif ROLE == "right":
    take("b", "a")
else:
    parts = [start(role) for role in ("left", "right")]
    parts[0].wait()
