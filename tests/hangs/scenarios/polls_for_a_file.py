"""A loop sleeps and checks for a file that does not appear. It moves, so it is reported and not called a hang."""
import os, time
from parts import ROLE, ready, run
EXPECT = {"verdict": "not-hung", "class": "polling-sleep"}

if ROLE == "child":
    ready()
    while not os.path.exists("never"):
        time.sleep(0.1)
else:
    run("child")
