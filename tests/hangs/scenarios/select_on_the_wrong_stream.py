"""The parent selects on the child's stderr alone, the child fills stdout."""
import os, select, subprocess, sys
EXPECT = {"verdict": "deadlock", "class": "pipe-full", "waiter": "child", "holder": "root"}

if "role=child" in sys.argv:
    open(os.environ["READY"], "w").close()
    os.write(1, b"x" * 200_000)
else:
    child = subprocess.Popen([sys.executable, __file__, "role=child"], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    select.select([child.stderr], [], [])
