"""A parent joins its child while it holds a lock in shared memory that the child needs."""
import multiprocessing
from parts import ready
EXPECT = {"verdict": "deadlock", "class": "futex-orphan"}


def work(lock):
    ready()
    lock.acquire()


if __name__ == "__main__":
    fork = multiprocessing.get_context("fork")
    lock = fork.Lock()
    with lock:
        child = fork.Process(target=work, args=(lock,))
        child.start()
        child.join()
