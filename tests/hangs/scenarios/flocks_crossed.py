"""Two processes take two flocks in opposite order; the kernel looks for such cycles among fcntl locks alone."""
import fcntl, os, subprocess, sys, time
EXPECT = {"verdict": "deadlock", "class": "file-lock", "waiter": ["left", "right"], "holder": ["left", "right"]}

if "role=root" in sys.argv:
    workers = [subprocess.Popen([sys.executable, __file__, role]) for role in ("role=left", "role=right")]
    for worker in workers:
        worker.wait()
else:
    own, other = ("a", "b") if "role=left" in sys.argv else ("b", "a")
    first = open(own, "w")
    fcntl.flock(first, fcntl.LOCK_EX)
    open(own + ".taken", "w").close()
    while not os.path.exists(other + ".taken"):
        time.sleep(0.01)
    second = open(other, "w")
    open(os.environ["READY"], "w").close()
    fcntl.flock(second, fcntl.LOCK_EX)
