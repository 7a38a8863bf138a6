"""tee waits in open for a reader of its FIFO, and the pipe to tee is full. The FIFO is the cause."""
import os, subprocess
EXPECT = {"verdict": "orphaned-wait", "class": "fifo-open"}

os.mkfifo("log")
subprocess.run(["sh", "-c", "touch $READY; yes | tee log >/dev/null"])
