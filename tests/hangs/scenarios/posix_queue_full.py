"""A child fills a POSIX message queue that nobody but itself and its waiting parent has."""
import ctypes, os, subprocess, sys
EXPECT = {"verdict": "deadlock", "class": "sysv-ipc", "waiter": "child"}

libc = ctypes.CDLL(None, use_errno=True)
if "role=child" in sys.argv:
    open(os.environ["READY"], "w").close()
    while True:
        libc.mq_send(int(sys.argv[1]), b"x" * 100, 100, 0)
else:
    name = b"/tracer-user-%d" % os.getpid()
    queue = libc.mq_open(name, os.O_RDWR | os.O_CREAT, 0o600, None)
    libc.mq_unlink(name)
    os.set_inheritable(queue, True)
    subprocess.run([sys.executable, __file__, str(queue), "role=child"], pass_fds=[queue])
