"""A process works while it holds a SysV semaphore; the one that waits for it will get it."""
import subprocess, sys, time
from parts import sysv
EXPECT = {"verdict": ["not-hung", "external"]}

if "role=worker" in sys.argv:
    sysv.operate(sys.argv[1], -1)
    print("taken", flush=True)
    while True:
        time.sleep(0.05)
elif "role=waiter" in sys.argv:
    sysv.wait(sys.argv[1])
else:
    semaphore = sysv.semaphore()
    sysv.operate(semaphore, 1)
    worker = subprocess.Popen([sys.executable, __file__, semaphore, "role=worker"], stdout=subprocess.PIPE)
    worker.stdout.readline()
    subprocess.run([sys.executable, __file__, semaphore, "role=waiter"])
