"""The writer has ended. An unrelated sibling inherited the write end by accident and sleeps."""
import os, sys, time
from parts import ROLE, ready, run, start
EXPECT = {"verdict": "orphaned-wait", "class": "eof-never", "waiter": "root", "holder": "sibling"}

if ROLE == "sibling":
    ready()
    time.sleep(600)
elif ROLE == "writer":
    os.write(int(sys.argv[1]), b"done")
else:
    read, write = os.pipe()
    start("sibling", pass_fds=[write])
    run("writer", str(write), pass_fds=[write])
    os.close(write)
    while os.read(read, 4096):
        pass
