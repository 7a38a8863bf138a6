"""A pool replaces a killed worker and waits forever for the result of the task that it had begun."""
import multiprocessing, os, signal, threading
from parts import ready
EXPECT = {"verdict": "orphaned-wait", "class": "worker-killed", "waiter": "root"}


def work(number):
    if number == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    return number


if __name__ == "__main__":
    with multiprocessing.get_context("fork").Pool(2) as pool:
        threading.Timer(1, lambda: ready()).start()
        pool.map(work, range(4), 1)
