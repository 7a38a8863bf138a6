"""A client waits in connect: the server's backlog is full, and the server waits for the client's exit."""
import socket
from parts import ROLE, ready, run
EXPECT = {"verdict": "deadlock", "waiter": "client", "holder": "root", "class": ["unix-socket-full", "network-peer"]}

if ROLE == "client":
    held = []
    ready()
    while True:
        held.append(socket.socket(socket.AF_UNIX))
        held[-1].connect("door")
else:
    door = socket.socket(socket.AF_UNIX)
    door.bind("door")
    door.listen(1)
    run("client")
    door.accept()
