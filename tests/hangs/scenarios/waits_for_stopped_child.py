"""A step waits for a child that stopped itself, as a background job that uses the terminal is stopped."""
import os, signal
from parts import ROLE, ready, run
EXPECT = {"verdict": "orphaned-wait", "class": "stopped", "waiter": "root", "holder": "child"}

if ROLE == "child":
    ready()
    os.kill(os.getpid(), signal.SIGSTOP)
else:
    run("child")
