"""Two processes take two open file description locks in opposite orders; the kernel looks for no deadlock there."""
import fcntl, os, struct, subprocess, sys, time
EXPECT = {"verdict": "deadlock", "class": "file-lock", "waiter": ["left", "right"], "holder": ["left", "right"]}
F_OFD_SETLKW = 38


def lock(name):
    file = os.open(name, os.O_RDWR | os.O_CREAT)
    fcntl.fcntl(file, F_OFD_SETLKW, struct.pack("hhqqi4x", fcntl.F_WRLCK, 0, 0, 0, 0))


def take(first, second):
    lock(first)
    open(first + ".held", "w").close()
    while not os.path.exists(second + ".held"):
        time.sleep(0.01)
    open(os.environ["READY"], "w").close()
    lock(second)


if "role=left" in sys.argv:
    take("a", "b")
elif "role=right" in sys.argv:
    take("b", "a")
else:
    parts = [subprocess.Popen([sys.executable, __file__, f"role={role}"]) for role in ("left", "right")]
    parts[0].wait()
