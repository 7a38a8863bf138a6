"""The last write end of a pipe is in a message in a UNIX socket's queue that is not received, and in no fd table."""
import os, socket, time
from parts import ROLE, ready, start
EXPECT = {"verdict": "orphaned-wait", "class": ["hidden-holder", "eof-never"], "waiter": "reader"}

if ROLE == "sleeper":
    time.sleep(600)
elif ROLE == "reader":
    ready()
    os.read(0, 1)
else:
    a, b = socket.socketpair()
    read, write = os.pipe()
    socket.send_fds(a, [b"here"], [write])
    os.close(write)
    sleeper = start("sleeper", stdin=b.fileno(), stdout=a.fileno())
    reader = start("reader", stdin=read)
    for end in (a, b):
        end.close()
    os.close(read)
    reader.wait()
    sleeper.wait()
