"""A process waits for a lock whose holder works."""
import fcntl, os, subprocess, sys, time
EXPECT = {"verdict": "not-hung"}

if "role=worker" in sys.argv:
    lock = open("lock", "w")
    fcntl.flock(lock, fcntl.LOCK_EX)
    open(os.environ["READY"], "w").close()
    while True:
        time.sleep(0.05)
elif "role=waiter" in sys.argv:
    lock = open("lock", "w")
    fcntl.flock(lock, fcntl.LOCK_EX)
else:
    worker = subprocess.Popen([sys.executable, __file__, "role=worker"])
    while not os.path.exists(os.environ["READY"]):
        time.sleep(0.05)
    subprocess.run([sys.executable, __file__, "role=waiter"])
