"""The step's output goes through tee, which never ends: a daemon of the step keeps tee's stdin open."""
import os, subprocess, sys, time
EXPECT = {"verdict": "orphaned-wait", "class": "eof-never", "waiter": ["root", "tee"], "holder": "daemon"}

if "role=daemon" in sys.argv:
    os.setsid()
    open(os.environ["READY"], "w").close()
    time.sleep(600)
elif "role=step" in sys.argv:
    subprocess.Popen([sys.executable, __file__, "role=daemon"])
elif "role=tee" in sys.argv:
    while block := os.read(0, 4096):
        os.write(1, block)
else:
    tee = subprocess.Popen([sys.executable, __file__, "role=tee"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    subprocess.run([sys.executable, __file__, "role=step"], stdout=tee.stdin)
    tee.stdin.close()
    tee.stdout.read()
