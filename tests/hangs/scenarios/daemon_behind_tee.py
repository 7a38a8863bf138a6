"""The output of a step goes through tee, which does not end: a daemon of the step keeps tee's stdin open."""
import os, subprocess, time
from parts import ROLE, ready, run, start
EXPECT = {"verdict": "orphaned-wait", "class": "eof-never", "waiter": ["root", "tee"], "holder": "daemon"}

if ROLE == "daemon":
    os.setsid()
    ready()
    time.sleep(600)
elif ROLE == "step":
    start("daemon")
elif ROLE == "tee":
    while block := os.read(0, 4096):
        os.write(1, block)
else:
    tee = start("tee", stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    run("step", stdout=tee.stdin)
    tee.stdin.close()
    tee.stdout.read()
