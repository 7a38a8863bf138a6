"""The only reader of a full pipe sleeps and never reads: it inherited the pipe as its stdin without using it."""
import os, subprocess, time
from parts import ROLE, ready, start
EXPECT = {"verdict": "orphaned-wait", "class": "pipe-full", "waiter": "writer", "holder": "idler"}

if ROLE == "idler":
    time.sleep(600)
elif ROLE == "writer":
    ready()
    os.write(1, b"x" * 300_000)
else:
    idler = start("idler", stdin=subprocess.PIPE)
    writer = start("writer", stdout=idler.stdin)
    idler.stdin.close()
    writer.wait()
