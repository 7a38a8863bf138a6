"""tee waits in open for a reader of its FIFO, so that what feeds tee finds its pipe full: the FIFO is the cause."""
import os, subprocess
EXPECT = {"verdict": "orphaned-wait", "class": "fifo-open"}

os.mkfifo("log")
subprocess.run(["sh", "-c", "touch $READY; yes | tee log >/dev/null"])
