"""The parent writes all input before it reads any output. The child writes as it reads, and both pipes fill."""
import os, subprocess
from parts import ROLE, ready, start
EXPECT = {"verdict": "deadlock", "class": "pipe-full", "waiter": ["child", "root"], "holder": ["root", "child"]}

if ROLE == "child":
    ready()
    while block := os.read(0, 4096):
        os.write(1, block * 2)
else:
    child = start("child", stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    child.stdin.write(b"x" * 1_000_000)
    child.stdin.close()
    child.stdout.read()
