"""A step waits for a child that stopped itself, as a background job does that touches the terminal."""
import os, signal, subprocess, sys
EXPECT = {"verdict": "orphaned-wait", "class": "stopped", "waiter": "root", "holder": "child"}

if "role=child" in sys.argv:
    open(os.environ["READY"], "w").close()
    os.kill(os.getpid(), signal.SIGSTOP)
else:
    subprocess.run([sys.executable, __file__, "role=child"])
