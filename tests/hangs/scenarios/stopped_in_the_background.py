"""A background job reads its terminal and is stopped for it (SIGTTIN). Its shell waits for it."""
import os, pty, sys
from parts import ROLE, command, ready, run
EXPECT = {"verdict": "orphaned-wait", "class": "stopped", "waiter": "shell", "holder": "job"}

if ROLE == "job":
    os.setpgid(0, 0)
    ready()
    sys.stdin.readline()
elif ROLE == "shell":
    run("job")
else:
    shell, master = pty.fork()
    if shell == 0:
        os.execv(sys.executable, command("shell"))
    while os.read(master, 100):
        pass
