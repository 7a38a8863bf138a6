"""The child waits on a full pipe, but its reader only waits for so long: it will come back."""
import os, select, subprocess, sys
EXPECT = {"verdict": "not-hung"}

if "role=child" in sys.argv:
    while True:
        os.write(1, b"x" * 4096)
else:
    child = subprocess.Popen([sys.executable, __file__, "role=child"], stdout=subprocess.PIPE)
    open(os.environ["READY"], "w").close()
    other, _keep = os.pipe()
    while True:
        select.select([other], [], [], 3)
        os.read(child.stdout.fileno(), 65536)
