"""An event loop waits without a time-out for the end of a socket pair. A leftover daemon inherited its other end."""
import selectors, socket, time
from parts import ROLE, ready, start
EXPECT = {"verdict": "orphaned-wait", "class": "eof-never", "waiter": "root", "holder": "daemon"}

if ROLE == "daemon":
    ready()
    time.sleep(600)
elif ROLE == "step":
    start("daemon")
else:
    own, other = socket.socketpair()
    step = start("step", stdout=other.fileno())
    other.close()
    step.wait()
    loop = selectors.DefaultSelector()
    loop.register(own, selectors.EVENT_READ)
    loop.select()
