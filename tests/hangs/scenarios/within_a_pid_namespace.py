"""As in a container: the numbers that the processes know each other by are not those that the tracer sees."""
import os, subprocess, sys
EXPECT = {"verdict": "deadlock", "class": "pipe-full", "waiter": "child", "holder": "inner"}

if "role=child" in sys.argv:
    open(os.environ["READY"], "w").close()
    os.write(1, b"x" * 300_000)
elif "role=inner" in sys.argv:
    subprocess.Popen([sys.executable, __file__, "role=child"], stdout=subprocess.PIPE).wait()
else:
    os.execvp("unshare", ["unshare", "--pid", "--fork", "--mount-proc", "--kill-child", sys.executable, __file__, "role=inner"])
