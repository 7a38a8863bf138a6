"""The reader of a pipe waits for its child, which waits for its own child, which writes to the pipe."""
import os, subprocess
from parts import ROLE, ready, run, start
EXPECT = {"verdict": "deadlock", "class": "pipe-full", "waiter": "leaf", "holder": "root"}

if ROLE == "leaf":
    ready()
    os.write(1, b"x" * 300_000)
elif ROLE == "middle":
    run("leaf")
else:
    middle = start("middle", stdout=subprocess.PIPE)
    middle.wait()
    middle.stdout.read()
