"""The parent polls a pidfd for its child's exit, as asyncio does, and does not read the child's output."""
import os, select, subprocess
from parts import ROLE, ready, start
EXPECT = {"verdict": "deadlock", "class": "pipe-full", "waiter": "child", "holder": "root"}

if ROLE == "child":
    ready()
    os.write(1, b"x" * 200_000)
else:
    child = start("child", stdout=subprocess.PIPE)
    poll = select.poll()
    poll.register(os.pidfd_open(child.pid), select.POLLIN)
    poll.poll()
    child.stdout.read()
