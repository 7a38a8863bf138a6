"""A pool replaces a worker that was killed, and waits for ever for the result of what that one had begun."""
import multiprocessing, os, signal, threading
EXPECT = {"verdict": "orphaned-wait", "class": "worker-killed", "waiter": "root"}


def work(number):
    if number == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    return number


if __name__ == "__main__":
    with multiprocessing.get_context("fork").Pool(2) as pool:
        threading.Timer(1, lambda: open(os.environ["READY"], "w").close()).start()
        pool.map(work, range(4), 1)
