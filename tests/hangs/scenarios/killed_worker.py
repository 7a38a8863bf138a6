"""A worker was killed before it delivered a result. Its parent reads from a pipe whose write end it holds itself."""
import os, signal, time
from parts import ROLE, ready, start
EXPECT = {"verdict": "orphaned-wait", "class": "worker-killed", "waiter": "root"}

if ROLE == "worker":
    time.sleep(600)
else:
    read, write = os.pipe()
    worker = start("worker", pass_fds=[write])
    worker.send_signal(signal.SIGKILL)
    ready()
    os.read(read, 1)
