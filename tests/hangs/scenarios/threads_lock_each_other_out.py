"""Two threads take two locks in opposite order, and the main thread joins them. No other process is involved."""
import threading
from parts import ROLE, ready, run
EXPECT = {"verdict": "deadlock", "class": "in-process-wait", "waiter": "child"}

if ROLE == "child":
    first, second, both = threading.Lock(), threading.Lock(), threading.Barrier(2)

    def take(a, b):
        with a:
            both.wait()
            with b:
                pass

    threads = [threading.Thread(target=take, args=pair) for pair in ((first, second), (second, first))]
    for thread in threads:
        thread.start()
    ready()
    for thread in threads:
        thread.join()
else:
    run("child")
