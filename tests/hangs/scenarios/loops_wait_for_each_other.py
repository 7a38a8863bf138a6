"""Two event loops, each in epoll for the other's first message on a socket pair."""
import select, socket
from parts import ROLE, ready, start
EXPECT = {"verdict": "deadlock", "class": ["quiescent-loops", "mutual-read"], "waiter": ["left", "right"]}

if ROLE == "root":
    a, b = socket.socketpair()
    left = start("left", stdin=a.fileno())
    right = start("right", stdin=b.fileno())
    a.close()
    b.close()
    left.wait()
    right.wait()
else:
    poll = select.epoll()
    poll.register(0, select.EPOLLIN)
    if ROLE == "right":
        ready()
    poll.poll()
