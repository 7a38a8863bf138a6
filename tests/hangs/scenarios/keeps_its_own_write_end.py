"""After the child's exit the parent waits for the end of a pipe whose last write end it forgot to close itself."""
import os, subprocess, sys
EXPECT = {"verdict": "deadlock", "class": "self-pipe", "waiter": "root", "holder": "root"}

if "role=child" in sys.argv:
    os.write(1, b"done")
else:
    read, write = os.pipe()
    subprocess.run([sys.executable, __file__, "role=child"], stdout=write)
    open(os.environ["READY"], "w").close()
    while os.read(read, 4096):
        pass
