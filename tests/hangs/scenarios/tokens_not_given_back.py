"""A job server's pipe: a killed step took the last token, and each process that could return one waits for one."""
import os, sys
from parts import ROLE, ready, run, start
EXPECT = {"verdict": "orphaned-wait", "class": "token-loss", "waiter": ["root", "job"]}

if ROLE == "thief":
    os.read(int(sys.argv[1]), 1)
elif ROLE == "job":
    ready()
    os.read(int(sys.argv[1]), 1)
else:
    read, write = os.pipe()
    os.write(write, b"+")
    words = [str(read), str(write)]
    run("thief", *words, pass_fds=[read, write])
    start("job", *words, pass_fds=[read, write])
    os.read(read, 1)
