"""Two programs each wait for the other's first line."""
import os, subprocess, sys
EXPECT = {"verdict": "deadlock", "class": "mutual-read", "waiter": "child", "holder": "root"}

if "role=child" in sys.argv:
    open(os.environ["READY"], "w").close()
    print(sys.stdin.readline())
else:
    child = subprocess.Popen([sys.executable, __file__, "role=child"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    child.stdout.readline()
