"""A child puts more into a multiprocessing queue than its pipe holds, and the parent joins it before it gets anything."""
import multiprocessing
from parts import ready
EXPECT = {"verdict": "deadlock", "class": "pipe-full", "waiter": "root", "holder": "root"}


def work(queue):
    queue.put("x" * 1_000_000)
    ready()


if __name__ == "__main__":
    fork = multiprocessing.get_context("fork")
    queue = fork.Queue()
    child = fork.Process(target=work, args=(queue,))
    child.start()
    child.join()
