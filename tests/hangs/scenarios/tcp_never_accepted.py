"""A client waits for an answer of a server that listens and never accepts. The kernel has connected them all the same."""
import socket, sys, time
from parts import ROLE, ready, start
EXPECT = {"verdict": "orphaned-wait", "class": "network-peer", "waiter": "client", "holder": "root"}

if ROLE == "client":
    out = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
    ready()
    out.recv(1)
else:
    door = socket.create_server(("127.0.0.1", 0))
    client = start("client", str(door.getsockname()[1]))
    time.sleep(600)
