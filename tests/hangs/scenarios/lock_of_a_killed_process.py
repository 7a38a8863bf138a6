"""A process is killed while it holds a multiprocessing lock. Its parent has reaped it and waits for another one that needs it."""
import multiprocessing, time
from parts import ready, wait_for
EXPECT = {"verdict": "orphaned-wait", "class": ["futex-orphan", "worker-killed"]}


def hold(lock):
    lock.acquire()
    open("held", "w").close()
    time.sleep(600)


def want(lock):
    ready()
    lock.acquire()


if __name__ == "__main__":
    context = multiprocessing.get_context("fork")
    lock = context.Lock()
    holder = context.Process(target=hold, args=(lock,))
    holder.start()
    wait_for("held")
    holder.kill()
    holder.join()
    wanter = context.Process(target=want, args=(lock,))
    wanter.start()
    wanter.join()
