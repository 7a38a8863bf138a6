"""A background job reads its terminal and is stopped for it (SIGTTIN); its shell waits for it."""
import os, pty, subprocess, sys
EXPECT = {"verdict": "orphaned-wait", "class": "stopped", "waiter": "shell", "holder": "job"}

if "role=job" in sys.argv:
    os.setpgid(0, 0)
    open(os.environ["READY"], "w").close()
    sys.stdin.readline()
elif "role=shell" in sys.argv:
    subprocess.run([sys.executable, __file__, "role=job"])
else:
    shell, master = pty.fork()
    if shell == 0:
        os.execv(sys.executable, [sys.executable, __file__, "role=shell"])
    while os.read(master, 100):
        pass
