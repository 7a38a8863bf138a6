"""The pipe's reader waits for its child, which waits for its own child, which writes: the chain is longer than the circle."""
import os, subprocess, sys
EXPECT = {"verdict": "deadlock", "class": "pipe-full", "waiter": "leaf", "holder": "root"}

if "role=leaf" in sys.argv:
    open(os.environ["READY"], "w").close()
    os.write(1, b"x" * 300_000)
elif "role=middle" in sys.argv:
    subprocess.run([sys.executable, __file__, "role=leaf"])
else:
    middle = subprocess.Popen([sys.executable, __file__, "role=middle"], stdout=subprocess.PIPE)
    middle.wait()
    middle.stdout.read()
