"""make's jobserver: every worker waits for a token from a pipe whose ends they all hold, and the last token died with its taker."""
import os, subprocess, sys
EXPECT = {"verdict": ["deadlock", "orphaned-wait"], "class": ["token-loss", "self-pipe"], "waiter": "worker"}

if "role=taker" in sys.argv:
    os.read(int(sys.argv[1]), 1)
elif "role=worker" in sys.argv:
    open(os.environ["READY"], "w").close()
    os.read(int(sys.argv[1]), 1)
else:
    read, write = os.pipe()
    os.write(write, b"+")

    def start(role):
        return subprocess.Popen([sys.executable, __file__, str(read), role], pass_fds=[read, write])

    start("role=taker").wait()
    for worker in [start("role=worker"), start("role=worker")]:
        worker.wait()
