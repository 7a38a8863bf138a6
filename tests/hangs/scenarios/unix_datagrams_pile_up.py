"""A sender of UNIX datagrams waits for room in the queue of a receiver that sleeps and never looks."""
import os, socket, subprocess, sys, time
EXPECT = {"verdict": "orphaned-wait", "class": "unix-socket-full", "waiter": "sender", "holder": "receiver"}

if "role=sender" in sys.argv:
    ours = socket.socket(fileno=0)
    open(os.environ["READY"], "w").close()
    while True:
        ours.send(b"x" * 100)
elif "role=receiver" in sys.argv:
    time.sleep(600)
else:
    a, b = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    sender = subprocess.Popen([sys.executable, __file__, "role=sender"], stdin=a.fileno())
    receiver = subprocess.Popen([sys.executable, __file__, "role=receiver"], stdin=b.fileno())
    a.close()
    b.close()
    sender.wait()
    receiver.wait()
