"""A client sends more than both socket buffers take; the server on the same machine waits for the client's exit before it reads."""
import os, socket, subprocess, sys
EXPECT = {"verdict": "deadlock", "class": "network-peer", "waiter": "client", "holder": "root"}

if "role=client" in sys.argv:
    out = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
    open(os.environ["READY"], "w").close()
    out.sendall(b"x" * 64_000_000)
else:
    door = socket.create_server(("127.0.0.1", 0))
    client = subprocess.Popen([sys.executable, __file__, str(door.getsockname()[1]), "role=client"])
    conversation, _ = door.accept()
    client.wait()
    conversation.recv(1)
