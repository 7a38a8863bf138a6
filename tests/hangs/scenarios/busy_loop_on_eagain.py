"""A loop around a read that fails with EAGAIN each time: full CPU time, no data."""
import os
from parts import ROLE, ready, run
EXPECT = {"verdict": "not-hung", "class": "livelock", "waiter": "child"}

if ROLE == "child":
    read, write = os.pipe()
    os.set_blocking(read, False)
    ready()
    while True:
        try:
            os.read(read, 1)
        except BlockingIOError:
            pass
else:
    run("child")
