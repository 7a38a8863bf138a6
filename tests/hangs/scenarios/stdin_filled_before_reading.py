"""The parent writes all of the input before it reads any output; the child writes output as it reads input, and both pipes fill."""
import os, subprocess, sys
EXPECT = {"verdict": "deadlock", "class": "pipe-full", "waiter": ["child", "root"], "holder": ["root", "child"]}

if "role=child" in sys.argv:
    open(os.environ["READY"], "w").close()
    while block := os.read(0, 4096):
        os.write(1, block * 2)
else:
    child = subprocess.Popen([sys.executable, __file__, "role=child"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    child.stdin.write(b"x" * 1_000_000)
    child.stdin.close()
    child.stdout.read()
