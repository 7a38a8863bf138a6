"""As wait_before_read, in a program with threads: one waits for the child, the main thread joins it, others are idle."""
import concurrent.futures, os, subprocess
from parts import ROLE, ready, start
EXPECT = {"verdict": "deadlock", "class": "pipe-full", "waiter": "child", "holder": "root"}

if ROLE == "child":
    ready()
    os.write(1, b"x" * 300_000)
else:
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        list(pool.map(abs, range(8)))
        child = start("child", stdout=subprocess.PIPE)
        pool.submit(child.wait).result()
