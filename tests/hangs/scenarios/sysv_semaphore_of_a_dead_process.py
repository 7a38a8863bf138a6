"""A process took a SysV semaphore, and was killed before it gave it back; the next one waits for ever."""
import os, subprocess, sys
from parts import sysv
EXPECT = {"verdict": "orphaned-wait", "class": "sysv-ipc", "waiter": "waiter"}

if "role=taker" in sys.argv:
    sysv.operate(sys.argv[1], -1)
    os.kill(os.getpid(), 9)
elif "role=waiter" in sys.argv:
    sysv.wait(sys.argv[1])
else:
    semaphore = sysv.semaphore()
    sysv.operate(semaphore, 1)
    subprocess.run([sys.executable, __file__, semaphore, "role=taker"])
    subprocess.run([sys.executable, __file__, semaphore, "role=waiter"])
