"""All descriptors that the limit allows are open, and the next open fails. That is no hang."""
import os, resource, time
from parts import ROLE, ready, run
EXPECT = {"verdict": ["not-hung", "idle"], "class": "exhaustion"}

if ROLE == "child":
    ready()
    resource.setrlimit(resource.RLIMIT_NOFILE, (16, 16))
    while True:
        try:
            os.dup(0)
        except OSError:
            time.sleep(600)
else:
    run("child")
