"""A loop sleeps and checks for a file that does not appear. Another program could create it, so this is no hang."""
import os, time
from parts import ROLE, ready, run
EXPECT = {"verdict": "idle", "class": "polling-sleep"}

if ROLE == "child":
    ready()
    while not os.path.exists("never"):
        time.sleep(0.1)
else:
    run("child")
