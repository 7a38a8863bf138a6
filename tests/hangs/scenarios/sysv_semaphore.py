"""A process waits for a SysV semaphore that no process has ever raised."""
import sys
from parts import ROLE, run, sysv
EXPECT = {"verdict": ["orphaned-wait", "external"], "class": "sysv-ipc", "waiter": "waiter"}

if ROLE == "waiter":
    sysv.wait(sys.argv[1])
else:
    run("waiter", sysv.semaphore())
