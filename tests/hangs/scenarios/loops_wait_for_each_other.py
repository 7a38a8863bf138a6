"""Two event loops, each in epoll for the other's first word over a socket pair."""
import os, select, socket, subprocess, sys
EXPECT = {"verdict": "deadlock", "class": ["quiescent-loops", "mutual-read"], "waiter": ["left", "right"]}

if "role=root" in sys.argv:
    a, b = socket.socketpair()
    left = subprocess.Popen([sys.executable, __file__, "role=left"], stdin=a.fileno())
    right = subprocess.Popen([sys.executable, __file__, "role=right"], stdin=b.fileno())
    a.close()
    b.close()
    left.wait()
    right.wait()
else:
    poll = select.epoll()
    poll.register(0, select.EPOLLIN)
    if "role=right" in sys.argv:
        open(os.environ["READY"], "w").close()
    poll.poll()
