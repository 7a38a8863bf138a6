"""A reader opens a FIFO that no process opens for writing."""
import os
from parts import ROLE, ready, run
EXPECT = {"verdict": "orphaned-wait", "class": "fifo-open", "waiter": "reader"}

if ROLE == "reader":
    ready()
    open("queue")
else:
    os.mkfifo("queue")
    run("reader")
