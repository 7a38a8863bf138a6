"""sleep | cat | wc: readers wait for a writer that takes its time."""
import subprocess
from parts import ready
EXPECT = {"verdict": "idle"}

ready()
subprocess.run(["sh", "-c", "(sleep 600; echo done) | cat | wc -l"])
