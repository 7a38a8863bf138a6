"""Writes of 2049 bytes take a slot each: the pipe is full at half its bytes. A shell-like parent waits for the exit first."""
import os, subprocess, sys
EXPECT = {"verdict": "deadlock", "class": "pipe-full", "waiter": "child", "holder": "root"}

if "role=child" in sys.argv:
    open(os.environ["READY"], "w").close()
    for _ in range(20):
        os.write(1, b"x" * 2049)
else:
    child = subprocess.Popen([sys.executable, __file__, "role=child"], stdout=subprocess.PIPE)
    os.waitid(os.P_PID, child.pid, os.WEXITED)
