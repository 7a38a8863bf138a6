"""A job server's pipe: a step that was killed took the last token with it, and all who could put one in wait for one."""
import os, subprocess, sys
EXPECT = {"verdict": "orphaned-wait", "class": "token-loss", "waiter": ["root", "job"]}

if "role=thief" in sys.argv:
    os.read(int(sys.argv[1]), 1)
elif "role=job" in sys.argv:
    open(os.environ["READY"], "w").close()
    os.read(int(sys.argv[1]), 1)
else:
    read, write = os.pipe()
    os.write(write, b"+")
    words = [str(read), str(write)]
    subprocess.run([sys.executable, __file__, *words, "role=thief"], pass_fds=[read, write])
    subprocess.Popen([sys.executable, __file__, *words, "role=job"], pass_fds=[read, write])
    os.read(read, 1)
