"""A server at rest in its event loop, with a listener and connected clients that wait for what it may say."""
import os, selectors, socket, subprocess, sys
EXPECT = {"verdict": "not-hung"}

if "role=client" in sys.argv:
    with socket.create_connection(("127.0.0.1", int(sys.argv[1]))) as talk:
        talk.recv(1)
else:
    door = socket.create_server(("127.0.0.1", 0))
    port = str(door.getsockname()[1])
    clients = [subprocess.Popen([sys.executable, __file__, port, "role=client"]) for _ in range(3)]
    loop = selectors.DefaultSelector()
    loop.register(door, selectors.EVENT_READ)
    for _ in clients:
        loop.register(door.accept()[0], selectors.EVENT_READ)
    open(os.environ["READY"], "w").close()
    loop.select()
