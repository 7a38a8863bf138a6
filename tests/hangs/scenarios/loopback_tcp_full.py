"""A client sends more than both socket buffers hold. The server waits for the client's exit before it reads."""
import socket, sys
from parts import ROLE, ready, start
EXPECT = {"verdict": "deadlock", "class": "network-peer", "waiter": "client", "holder": "root"}

if ROLE == "client":
    out = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
    ready()
    out.sendall(b"x" * 64_000_000)
else:
    door = socket.create_server(("127.0.0.1", 0))
    client = start("client", str(door.getsockname()[1]))
    conversation, _ = door.accept()
    client.wait()
    conversation.recv(1)
