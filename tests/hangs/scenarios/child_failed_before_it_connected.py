"""The parent waits in accept for a child that ended in failure before it connected."""
import os, socket, subprocess, sys
EXPECT = {"verdict": "orphaned-wait", "class": "died-at-boot", "waiter": "root"}

if "role=child" in sys.argv:
    sys.exit(3)
else:
    door = socket.create_server(("127.0.0.1", 0))
    child = subprocess.Popen([sys.executable, __file__, "role=child"])
    open(os.environ["READY"], "w").close()
    door.accept()
