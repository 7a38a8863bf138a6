"""The parent selects on the child's stderr only, while the child fills its stdout."""
import os, select, subprocess
from parts import ROLE, ready, start
EXPECT = {"verdict": "deadlock", "class": "pipe-full", "waiter": "child", "holder": "root"}

if ROLE == "child":
    ready()
    os.write(1, b"x" * 200_000)
else:
    child = start("child", stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    select.select([child.stderr], [], [])
