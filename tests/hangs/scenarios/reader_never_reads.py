"""The only reader of a full pipe lives, sleeps, and never reads: it inherited its stdin and has no use for it."""
import os, subprocess, sys, time
EXPECT = {"verdict": "orphaned-wait", "class": "pipe-full", "waiter": "writer", "holder": "idler"}

if "role=idler" in sys.argv:
    time.sleep(600)
elif "role=writer" in sys.argv:
    open(os.environ["READY"], "w").close()
    os.write(1, b"x" * 300_000)
else:
    idler = subprocess.Popen([sys.executable, __file__, "role=idler"], stdin=subprocess.PIPE)
    writer = subprocess.Popen([sys.executable, __file__, "role=writer"], stdout=idler.stdin)
    idler.stdin.close()
    writer.wait()
