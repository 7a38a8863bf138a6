"""make's job server: the last token is lost with the process that took it, and each worker waits for a token."""
import os, sys
from parts import ROLE, ready, run, start
EXPECT = {"verdict": ["deadlock", "orphaned-wait"], "class": ["token-loss", "self-pipe"], "waiter": "worker"}

if ROLE == "taker":
    os.read(int(sys.argv[1]), 1)
elif ROLE == "worker":
    ready()
    os.read(int(sys.argv[1]), 1)
else:
    read, write = os.pipe()
    os.write(write, b"+")

    run("taker", str(read), pass_fds=[read, write])
    for worker in [start("worker", str(read), pass_fds=[read, write]) for _ in range(2)]:
        worker.wait()
