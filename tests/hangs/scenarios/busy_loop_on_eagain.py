"""A loop over a read that says EAGAIN each time: all CPU, not one byte."""
import os, subprocess, sys
EXPECT = {"verdict": "not-hung", "class": "livelock", "waiter": "child"}

if "role=child" in sys.argv:
    read, write = os.pipe()
    os.set_blocking(read, False)
    open(os.environ["READY"], "w").close()
    while True:
        try:
            os.read(read, 1)
        except BlockingIOError:
            pass
else:
    subprocess.run([sys.executable, __file__, "role=child"])
