"""A filter waits for the end of its input. A sibling inherited the write end by accident, and its maker has closed it."""
import os, subprocess, sys, time
from parts import ROLE, ready, start
EXPECT = {"verdict": "orphaned-wait", "class": "eof-never", "waiter": "filter", "holder": "sibling"}

if ROLE == "filter":
    ready()
    sys.stdin.read()
elif ROLE == "sibling":
    time.sleep(600)
else:
    read, write = os.pipe()
    os.set_inheritable(write, True)
    start("sibling", close_fds=False, stdin=subprocess.DEVNULL)
    reader = start("filter", stdin=read)
    os.close(read)
    os.close(write)
    reader.wait()
