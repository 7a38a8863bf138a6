"""A child fills its terminal; the parent holds the master side and waits for the child's exit before it reads."""
import os, pty, subprocess, sys, tty
EXPECT = {"verdict": "deadlock", "class": "pty-full", "waiter": "child", "holder": "root"}

if "role=child" in sys.argv:
    open(os.environ["READY"], "w").close()
    os.write(1, b"x" * 100_000)
else:
    master, slave = pty.openpty()
    tty.setraw(slave)
    child = subprocess.Popen([sys.executable, __file__, "role=child"], stdout=slave)
    os.close(slave)
    child.wait()
    os.read(master, 1)
