"""A child reads its stdin to the end. The parent holds the write end and waits for the child's exit."""
import subprocess, sys
from parts import ROLE, ready, start
EXPECT = {"verdict": "deadlock", "class": "mutual-read", "waiter": "child", "holder": "root"}

if ROLE == "child":
    ready()
    sys.stdin.read()
else:
    child = start("child", stdin=subprocess.PIPE)
    child.wait()
