"""Back-pressure with long pauses: the reader of a full pipe sleeps for a minute between its reads."""
import os, subprocess, time
from parts import ROLE, ready, start
EXPECT = {"verdict": "idle"}

if ROLE == "writer":
    while True:
        os.write(1, b"x" * 4096)
else:
    writer = start("writer", stdout=subprocess.PIPE)
    ready()
    while writer.stdout.read1(4096):
        time.sleep(60)
