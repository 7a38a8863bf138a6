"""A thread waits for an eventfd that no other process holds, and all other threads of its process wait for it."""
import os, threading
from parts import ROLE, ready, run
EXPECT = {"verdict": ["deadlock", "orphaned-wait"], "class": ["in-process-wait", "quiescent-loops", "self-pipe"], "waiter": "child"}

if ROLE == "child":
    wake = os.eventfd(0)
    waiter = threading.Thread(target=os.eventfd_read, args=[wake])
    waiter.start()
    ready()
    waiter.join()
else:
    run("child")
