"""A child puts more into a multiprocessing queue than its pipe takes, and the parent joins it before it gets anything."""
import multiprocessing, os
EXPECT = {"verdict": "deadlock", "class": "pipe-full", "waiter": "root", "holder": "root"}


def work(queue):
    queue.put("x" * 1_000_000)
    open(os.environ["READY"], "w").close()


if __name__ == "__main__":
    fork = multiprocessing.get_context("fork")
    queue = fork.Queue()
    child = fork.Process(target=work, args=(queue,))
    child.start()
    child.join()
