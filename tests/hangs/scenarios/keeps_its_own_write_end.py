"""After the child's exit the parent reads to the end of a pipe whose last write end is its own."""
import os
from parts import ROLE, ready, run
EXPECT = {"verdict": "deadlock", "class": "self-pipe", "waiter": "root", "holder": "root"}

if ROLE == "child":
    os.write(1, b"done")
else:
    read, write = os.pipe()
    run("child", stdout=write)
    ready()
    while os.read(read, 4096):
        pass
