"""A debugger attached to the reader of a pipe and does nothing more: the reader stays in its ptrace stop."""
import ctypes, os, subprocess, sys, time
from parts import ROLE, ready, start
EXPECT = {"verdict": "orphaned-wait", "class": ["stopped", "pipe-full"], "waiter": "writer", "holder": "reader"}

if ROLE == "reader":
    os.read(0, 1)
    time.sleep(600)
elif ROLE == "writer":
    ready()
    os.write(1, b"x" * 300_000)
elif ROLE == "debugger":
    libc = ctypes.CDLL(None, use_errno=True)
    PTRACE_ATTACH = 16
    if libc.ptrace(PTRACE_ATTACH, int(sys.argv[1]), None, None):
        sys.exit(os.strerror(ctypes.get_errno()))
    os.waitpid(int(sys.argv[1]), 0)
    time.sleep(600)
else:
    reader = start("reader", stdin=subprocess.PIPE)
    debugger = start("debugger", str(reader.pid))
    while "t" not in open(f"/proc/{reader.pid}/stat").read().rpartition(")")[2].split()[0]:
        if debugger.poll() is not None:
            sys.exit("the debugger could not attach")
        time.sleep(0.01)
    writer = start("writer", stdout=reader.stdin)
    reader.stdin.close()
    writer.wait()
