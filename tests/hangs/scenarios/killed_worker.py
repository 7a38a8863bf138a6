"""A worker was killed before it delivered; its parent waits for the result on a pipe whose write end it still holds itself."""
import os, signal, subprocess, sys, time
EXPECT = {"verdict": "orphaned-wait", "class": "worker-killed", "waiter": "root"}

if "role=worker" in sys.argv:
    time.sleep(600)
else:
    read, write = os.pipe()
    worker = subprocess.Popen([sys.executable, __file__, "role=worker"], pass_fds=[write])
    worker.send_signal(signal.SIGKILL)
    open(os.environ["READY"], "w").close()
    os.read(read, 1)
