"""The $(...) of a shell reads to the end of the file, and a background process inside it keeps the pipe open."""
import subprocess
from parts import ready
EXPECT = {"verdict": "orphaned-wait", "class": "eof-never"}

ready()
subprocess.run(["bash", "-c", "out=$(sleep 600 & echo done); echo $out"])
