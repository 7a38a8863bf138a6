"""Two programs each wait for the other's first line."""
import subprocess, sys
from parts import ROLE, ready, start
EXPECT = {"verdict": "deadlock", "class": "mutual-read", "waiter": "child", "holder": "root"}

if ROLE == "child":
    ready()
    print(sys.stdin.readline())
else:
    child = start("child", stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    child.stdout.readline()
