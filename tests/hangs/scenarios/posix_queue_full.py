"""A child fills a POSIX message queue that only it and its waiting parent hold."""
import ctypes, os, sys
from parts import ROLE, ready, run
EXPECT = {"verdict": "deadlock", "class": "sysv-ipc", "waiter": "child"}

libc = ctypes.CDLL(None, use_errno=True)
if ROLE == "child":
    ready()
    while True:
        libc.mq_send(int(sys.argv[1]), b"x" * 100, 100, 0)
else:
    name = b"/tracer-user-%d" % os.getpid()
    queue = libc.mq_open(name, os.O_RDWR | os.O_CREAT, 0o600, None)
    libc.mq_unlink(name)
    os.set_inheritable(queue, True)
    run("child", str(queue), pass_fds=[queue])
