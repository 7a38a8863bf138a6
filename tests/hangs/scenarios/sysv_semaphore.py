"""A process waits for a SysV semaphore that nobody has ever raised, nor will."""
import subprocess, sys
from parts import sysv
EXPECT = {"verdict": ["orphaned-wait", "external"], "class": "sysv-ipc", "waiter": "waiter"}

if "role=waiter" in sys.argv:
    sysv.wait(sys.argv[1])
else:
    subprocess.run([sys.executable, __file__, sysv.semaphore(), "role=waiter"])
