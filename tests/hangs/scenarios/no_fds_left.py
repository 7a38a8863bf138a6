"""All fds that the limit allows are open: the next open fails. Slow or wrong, and no hang."""
import os, resource, subprocess, sys, time
EXPECT = {"verdict": "not-hung", "class": "exhaustion"}

if "role=child" in sys.argv:
    open(os.environ["READY"], "w").close()
    resource.setrlimit(resource.RLIMIT_NOFILE, (16, 16))
    while True:
        try:
            os.dup(0)
        except OSError:
            time.sleep(600)
else:
    subprocess.run([sys.executable, __file__, "role=child"])
