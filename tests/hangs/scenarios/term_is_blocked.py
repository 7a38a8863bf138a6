"""SIGTERM was sent to a child that blocks it, and the parent waits for the exit."""
import os, signal, subprocess, sys, time
EXPECT = {"verdict": "orphaned-wait", "class": "signal-ineffective", "waiter": "root", "holder": "child"}

if "role=child" in sys.argv:
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    open(os.environ["READY"], "w").close()
    time.sleep(600)
else:
    child = subprocess.Popen([sys.executable, __file__, "role=child"])
    while not os.path.exists(os.environ["READY"]):
        time.sleep(0.05)
    child.terminate()
    child.wait()
