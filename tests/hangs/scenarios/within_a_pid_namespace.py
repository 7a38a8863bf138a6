"""As in a container: the pids that the processes know differ from those that the tracer sees."""
import os, subprocess
from parts import ROLE, command, ready, start
EXPECT = {"verdict": "deadlock", "class": "pipe-full", "waiter": "child", "holder": "inner"}

if ROLE == "child":
    ready()
    os.write(1, b"x" * 300_000)
elif ROLE == "inner":
    start("child", stdout=subprocess.PIPE).wait()
else:
    os.execvp("unshare", ["unshare", "--pid", "--fork", "--mount-proc", "--kill-child", *command("inner")])
