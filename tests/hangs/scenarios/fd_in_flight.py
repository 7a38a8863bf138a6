"""The last write end of a pipe lies in a UNIX socket's queue, in a message nobody receives: it is in no fd table."""
import os, socket, subprocess, sys, time
EXPECT = {"verdict": "orphaned-wait", "class": ["hidden-holder", "eof-never"], "waiter": "reader"}

if "role=keeper" in sys.argv:
    time.sleep(600)
elif "role=reader" in sys.argv:
    open(os.environ["READY"], "w").close()
    os.read(0, 1)
else:
    a, b = socket.socketpair()
    read, write = os.pipe()
    socket.send_fds(a, [b"here"], [write])
    os.close(write)
    keeper = subprocess.Popen([sys.executable, __file__, "role=keeper"], stdin=b.fileno(), stdout=a.fileno())
    reader = subprocess.Popen([sys.executable, __file__, "role=reader"], stdin=read)
    for end in (a, b):
        end.close()
    os.close(read)
    reader.wait()
    keeper.wait()
