"""The child reads its stdin to the end; the parent holds the write end and waits for the child's exit."""
import os, subprocess, sys
EXPECT = {"verdict": "deadlock", "class": "mutual-read", "waiter": "child", "holder": "root"}

if "role=child" in sys.argv:
    open(os.environ["READY"], "w").close()
    sys.stdin.read()
else:
    child = subprocess.Popen([sys.executable, __file__, "role=child"], stdin=subprocess.PIPE)
    child.wait()
