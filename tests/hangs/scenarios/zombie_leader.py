"""The child's first thread has ended, a second one reads a pipe whose only write end is its own: the parent waits for both."""
import ctypes, os, platform, signal, subprocess, sys, threading
EXPECT = {"verdict": "deadlock", "class": ["self-pipe", "unreaped-child"], "waiter": "child"}
PR_SET_PDEATHSIG = 1
SYS_EXIT = {"x86_64": 60, "aarch64": 93}[platform.machine()]

if "role=child" in sys.argv:
    read, write = os.pipe()
    libc = ctypes.CDLL(None)

    def second():
        # Whoever ends the scenario finds processes by their environment, which a dead leader's does not show.
        libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        open(os.environ["READY"], "w").close()
        libc.read(read, ctypes.create_string_buffer(1), 1)

    threading.Thread(target=second).start()
    libc.syscall(SYS_EXIT, 0)
else:
    subprocess.run([sys.executable, __file__, "role=child"])
