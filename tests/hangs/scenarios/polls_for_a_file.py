"""A loop that sleeps and looks for a file that does not come: it moves, so it is not called hung, and is told."""
import os, subprocess, sys, time
EXPECT = {"verdict": "not-hung", "class": "polling-sleep"}

if "role=child" in sys.argv:
    open(os.environ["READY"], "w").close()
    while not os.path.exists("never"):
        time.sleep(0.1)
else:
    subprocess.run([sys.executable, __file__, "role=child"])
