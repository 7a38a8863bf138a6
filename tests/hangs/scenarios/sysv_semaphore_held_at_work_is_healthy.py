"""A process works while it holds a SysV semaphore that another one waits for."""
import subprocess, sys, time
from parts import ROLE, run, start, sysv
EXPECT = {"verdict": ["idle", "external"]}

if ROLE == "worker":
    sysv.operate(sys.argv[1], -1)
    print("taken", flush=True)
    while True:
        time.sleep(0.05)
elif ROLE == "waiter":
    sysv.wait(sys.argv[1])
else:
    semaphore = sysv.semaphore()
    sysv.operate(semaphore, 1)
    worker = start("worker", semaphore, stdout=subprocess.PIPE)
    worker.stdout.readline()
    run("waiter", semaphore)
