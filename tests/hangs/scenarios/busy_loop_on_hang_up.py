"""A loop over a poll that tells a hang-up each time, which nobody handles."""
import os, select, subprocess, sys
EXPECT = {"verdict": "not-hung", "class": "livelock", "waiter": "child"}

if "role=child" in sys.argv:
    read, write = os.pipe()
    os.close(write)
    poll = select.poll()
    poll.register(read, select.POLLIN)
    open(os.environ["READY"], "w").close()
    while True:
        poll.poll(1000)
else:
    subprocess.run([sys.executable, __file__, "role=child"])
