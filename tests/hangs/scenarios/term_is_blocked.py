"""A parent sent SIGTERM to a child that blocks it, and waits for its exit."""
import os, signal, time
from parts import ROLE, ready, start, wait_for
EXPECT = {"verdict": "orphaned-wait", "class": "signal-ineffective", "waiter": "root", "holder": "child"}

if ROLE == "child":
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    ready()
    time.sleep(600)
else:
    child = start("child")
    wait_for(os.environ["READY"])
    child.terminate()
    child.wait()
