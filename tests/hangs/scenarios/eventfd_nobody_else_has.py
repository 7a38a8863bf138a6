"""A thread waits for an eventfd that no other process holds, and all other threads of its process wait for it."""
import os, subprocess, sys, threading
EXPECT = {"verdict": ["deadlock", "orphaned-wait"], "class": ["in-process-wait", "quiescent-loops", "self-pipe"], "waiter": "child"}

if "role=child" in sys.argv:
    wake = os.eventfd(0)
    waiter = threading.Thread(target=os.eventfd_read, args=[wake])
    waiter.start()
    open(os.environ["READY"], "w").close()
    waiter.join()
else:
    subprocess.run([sys.executable, __file__, "role=child"])
