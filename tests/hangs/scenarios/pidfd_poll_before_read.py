"""As asyncio does it: the parent polls a pidfd for its child's exit, and nobody reads what the child writes."""
import os, select, subprocess, sys
EXPECT = {"verdict": "deadlock", "class": "pipe-full", "waiter": "child", "holder": "root"}

if "role=child" in sys.argv:
    open(os.environ["READY"], "w").close()
    os.write(1, b"x" * 200_000)
else:
    child = subprocess.Popen([sys.executable, __file__, "role=child"], stdout=subprocess.PIPE)
    poll = select.poll()
    poll.register(os.pidfd_open(child.pid), select.POLLIN)
    poll.poll()
    child.stdout.read()
