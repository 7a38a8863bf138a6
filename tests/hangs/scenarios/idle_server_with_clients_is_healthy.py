"""A server rests in its event loop, with a listener and connected clients that wait for data."""
import selectors, socket, sys
from parts import ROLE, ready, start
EXPECT = {"verdict": "idle"}

if ROLE == "client":
    with socket.create_connection(("127.0.0.1", int(sys.argv[1]))) as talk:
        talk.recv(1)
else:
    door = socket.create_server(("127.0.0.1", 0))
    port = str(door.getsockname()[1])
    clients = [start("client", port) for _ in range(3)]
    loop = selectors.DefaultSelector()
    loop.register(door, selectors.EVENT_READ)
    for _ in clients:
        loop.register(door.accept()[0], selectors.EVENT_READ)
    ready()
    loop.select()
