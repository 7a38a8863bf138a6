"""A parent waits in accept for a child that failed before it connected."""
import socket, sys
from parts import ROLE, ready, start
EXPECT = {"verdict": "orphaned-wait", "class": "died-at-boot", "waiter": "root"}

if ROLE == "child":
    sys.exit(3)
else:
    door = socket.create_server(("127.0.0.1", 0))
    child = start("child")
    ready()
    door.accept()
