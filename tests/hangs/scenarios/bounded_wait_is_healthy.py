"""A child waits on a full pipe whose reader sleeps in a wait with a time-out, and reads after it."""
import os, select, subprocess
from parts import ROLE, ready, start
EXPECT = {"verdict": "not-hung"}

if ROLE == "child":
    while True:
        os.write(1, b"x" * 4096)
else:
    child = start("child", stdout=subprocess.PIPE)
    ready()
    other, _keep = os.pipe()
    while True:
        select.select([other], [], [], 3)
        os.read(child.stdout.fileno(), 65536)
