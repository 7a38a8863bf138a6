"""A filter waits for the end of its input, whose write end a sibling got by accident and keeps; whoever made the pipe has closed it."""
import os, subprocess, sys, time
EXPECT = {"verdict": "orphaned-wait", "class": "eof-never", "waiter": "filter", "holder": "sibling"}

if "role=filter" in sys.argv:
    open(os.environ["READY"], "w").close()
    sys.stdin.read()
elif "role=sibling" in sys.argv:
    time.sleep(600)
else:
    read, write = os.pipe()
    os.set_inheritable(write, True)
    subprocess.Popen([sys.executable, __file__, "role=sibling"], close_fds=False, stdin=subprocess.DEVNULL)
    reader = subprocess.Popen([sys.executable, __file__, "role=filter"], stdin=read)
    os.close(read)
    os.close(write)
    reader.wait()
