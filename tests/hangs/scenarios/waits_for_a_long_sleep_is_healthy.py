"""A parent captures the output of a child that sleeps for ten minutes: slow, not hung."""
import subprocess
from parts import ready
EXPECT = {"verdict": "idle"}

ready()
subprocess.run(["sleep", "600"], capture_output=True)
