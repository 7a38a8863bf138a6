"""A shell's $(...) reads to the end of file; what was put into the background inside keeps the pipe open."""
import os, subprocess
EXPECT = {"verdict": "orphaned-wait", "class": "eof-never"}

open(os.environ["READY"], "w").close()
subprocess.run(["bash", "-c", "said=$(sleep 600 & echo done); echo $said"])
