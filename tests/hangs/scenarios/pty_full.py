"""A child fills its terminal. The parent holds the master side and waits for the child's exit before it reads."""
import os, pty, tty
from parts import ROLE, ready, start
EXPECT = {"verdict": "deadlock", "class": "pty-full", "waiter": "child", "holder": "root"}

if ROLE == "child":
    ready()
    os.write(1, b"x" * 100_000)
else:
    master, slave = pty.openpty()
    tty.setraw(slave)
    child = start("child", stdout=slave)
    os.close(slave)
    child.wait()
    os.read(master, 1)
