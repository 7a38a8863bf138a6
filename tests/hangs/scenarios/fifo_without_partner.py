"""A reader opens a FIFO that nobody opens for writing."""
import os, subprocess, sys
EXPECT = {"verdict": "orphaned-wait", "class": "fifo-open", "waiter": "reader"}

if "role=reader" in sys.argv:
    open(os.environ["READY"], "w").close()
    open("queue")
else:
    os.mkfifo("queue")
    subprocess.run([sys.executable, __file__, "role=reader"])
