"""An unconnected socket sends to a path, as syslog clients do. The daemon that bound it waits for the sender."""
import socket
from parts import ROLE, ready, run
EXPECT = {"verdict": "deadlock", "class": "unix-socket-full", "waiter": "sender", "holder": "root"}

if ROLE == "sender":
    out = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    ready()
    while True:
        out.sendto(b"x" * 100, "log")
else:
    log = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    log.bind("log")
    run("sender")
    log.recv(1)
