"""A parent captures the output of a child that sleeps for ten minutes: slow, and no hang."""
import os, subprocess
EXPECT = {"verdict": "not-hung"}

open(os.environ["READY"], "w").close()
subprocess.run(["sleep", "600"], capture_output=True)
