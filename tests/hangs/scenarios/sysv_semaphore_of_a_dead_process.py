"""A process took a SysV semaphore and was killed before it released it. The next one waits forever."""
import os, sys
from parts import ROLE, run, sysv
EXPECT = {"verdict": "orphaned-wait", "class": "sysv-ipc", "waiter": "waiter"}

if ROLE == "taker":
    sysv.operate(sys.argv[1], -1)
    os.kill(os.getpid(), 9)
elif ROLE == "waiter":
    sysv.wait(sys.argv[1])
else:
    semaphore = sysv.semaphore()
    sysv.operate(semaphore, 1)
    run("taker", semaphore)
    run("waiter", semaphore)
