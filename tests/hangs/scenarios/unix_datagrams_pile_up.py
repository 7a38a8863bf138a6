"""A sender of UNIX datagrams waits for room in the queue of a receiver that sleeps and never reads."""
import socket, time
from parts import ROLE, ready, start
EXPECT = {"verdict": "orphaned-wait", "class": "unix-socket-full", "waiter": "sender", "holder": "receiver"}

if ROLE == "sender":
    own = socket.socket(fileno=0)
    ready()
    while True:
        own.send(b"x" * 100)
elif ROLE == "receiver":
    time.sleep(600)
else:
    a, b = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    sender = start("sender", stdin=a.fileno())
    receiver = start("receiver", stdin=b.fileno())
    a.close()
    b.close()
    sender.wait()
    receiver.wait()
