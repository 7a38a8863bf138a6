"""A client waits in connect: the server's backlog is full, and the server waits for the client's exit instead of accepting."""
import os, socket, subprocess, sys
EXPECT = {"verdict": "deadlock", "waiter": "client", "holder": "root", "class": ["unix-socket-full", "network-peer"]}

if "role=client" in sys.argv:
    held = []
    open(os.environ["READY"], "w").close()
    while True:
        held.append(socket.socket(socket.AF_UNIX))
        held[-1].connect("door")
else:
    door = socket.socket(socket.AF_UNIX)
    door.bind("door")
    door.listen(1)
    subprocess.run([sys.executable, __file__, "role=client"])
    door.accept()
