"""Writes of 2049 bytes take a slot each, so the pipe is full at half its bytes. The parent waits for the exit first."""
import os, subprocess
from parts import ROLE, ready, start
EXPECT = {"verdict": "deadlock", "class": "pipe-full", "waiter": "child", "holder": "root"}

if ROLE == "child":
    ready()
    for _ in range(20):
        os.write(1, b"x" * 2049)
else:
    child = start("child", stdout=subprocess.PIPE)
    os.waitid(os.P_PID, child.pid, os.WEXITED)
