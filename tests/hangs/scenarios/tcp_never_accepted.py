"""A client waits for an answer of a server that listens and never accepts: the kernel connected them all the same."""
import os, socket, subprocess, sys, time
EXPECT = {"verdict": "orphaned-wait", "class": "network-peer", "waiter": "client", "holder": "root"}

if "role=client" in sys.argv:
    out = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
    open(os.environ["READY"], "w").close()
    out.recv(1)
else:
    door = socket.create_server(("127.0.0.1", 0))
    client = subprocess.Popen([sys.executable, __file__, str(door.getsockname()[1]), "role=client"])
    time.sleep(600)
