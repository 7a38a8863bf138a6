"""The writer has ended; a sibling that has nothing to do with it was handed the write end by accident and sleeps."""
import os, subprocess, sys, time
EXPECT = {"verdict": "orphaned-wait", "class": "eof-never", "waiter": "root", "holder": "sibling"}

if "role=sibling" in sys.argv:
    open(os.environ["READY"], "w").close()
    time.sleep(600)
elif "role=writer" in sys.argv:
    os.write(int(sys.argv[1]), b"done")
else:
    read, write = os.pipe()
    subprocess.Popen([sys.executable, __file__, "role=sibling"], pass_fds=[write])
    subprocess.run([sys.executable, __file__, str(write), "role=writer"], pass_fds=[write])
    os.close(write)
    while os.read(read, 4096):
        pass
