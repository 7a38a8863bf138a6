"""Two threads take two locks in opposite orders; the main thread joins them. No other process has a part in it."""
import os, subprocess, sys, threading
EXPECT = {"verdict": "deadlock", "class": "in-process-wait", "waiter": "child"}

if "role=child" in sys.argv:
    first, second, both = threading.Lock(), threading.Lock(), threading.Barrier(2)

    def take(a, b):
        with a:
            both.wait()
            with b:
                pass

    threads = [threading.Thread(target=take, args=pair) for pair in ((first, second), (second, first))]
    for thread in threads:
        thread.start()
    open(os.environ["READY"], "w").close()
    for thread in threads:
        thread.join()
else:
    subprocess.run([sys.executable, __file__, "role=child"])
