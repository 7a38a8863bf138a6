"""As wait_before_read, from a program with threads: one waits for the child, the main thread joins it, others are idle in a pool."""
import concurrent.futures, os, subprocess, sys
EXPECT = {"verdict": "deadlock", "class": "pipe-full", "waiter": "child", "holder": "root"}

if "role=child" in sys.argv:
    open(os.environ["READY"], "w").close()
    os.write(1, b"x" * 300_000)
else:
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        list(pool.map(abs, range(8)))
        child = subprocess.Popen([sys.executable, __file__, "role=child"], stdout=subprocess.PIPE)
        pool.submit(child.wait).result()
