"""The child's first thread has ended, and its second reads a pipe whose only write end is its own. The parent waits."""
import ctypes, os, platform, signal, threading
from parts import ROLE, ready, run
EXPECT = {"verdict": "deadlock", "class": ["self-pipe", "unreaped-child"], "waiter": "child"}
PR_SET_PDEATHSIG = 1
SYS_EXIT = {"x86_64": 60, "aarch64": 93}[platform.machine()]

if ROLE == "child":
    read, write = os.pipe()
    libc = ctypes.CDLL(None)

    def second():
        # The runner finds processes by their environment, which is not readable after the leader has ended.
        libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        ready()
        libc.read(read, ctypes.create_string_buffer(1), 1)

    threading.Thread(target=second).start()
    libc.syscall(SYS_EXIT, 0)
else:
    run("child")
