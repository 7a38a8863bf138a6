"""An event loop waits without a time-out for the end of a socket pair whose other end a left-behind daemon inherited."""
import os, selectors, socket, subprocess, sys, time
EXPECT = {"verdict": "orphaned-wait", "class": "eof-never", "waiter": "root", "holder": "daemon"}

if "role=daemon" in sys.argv:
    open(os.environ["READY"], "w").close()
    time.sleep(600)
elif "role=step" in sys.argv:
    subprocess.Popen([sys.executable, __file__, "role=daemon"])
else:
    ours, theirs = socket.socketpair()
    step = subprocess.Popen([sys.executable, __file__, "role=step"], stdout=theirs.fileno())
    theirs.close()
    step.wait()
    loop = selectors.DefaultSelector()
    loop.register(ours, selectors.EVENT_READ)
    loop.select()
