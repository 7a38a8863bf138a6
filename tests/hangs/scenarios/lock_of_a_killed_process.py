"""A process was killed while it held a lock of multiprocessing; its parent has collected it, and waits for another one that wants the lock."""
import multiprocessing, os, time
EXPECT = {"verdict": "orphaned-wait", "class": ["futex-orphan", "worker-killed"]}


def hold(lock):
    lock.acquire()
    open("held", "w").close()
    time.sleep(600)


def want(lock):
    open(os.environ["READY"], "w").close()
    lock.acquire()


if __name__ == "__main__":
    context = multiprocessing.get_context("fork")
    lock = context.Lock()
    holder = context.Process(target=hold, args=(lock,))
    holder.start()
    while not os.path.exists("held"):
        time.sleep(0.01)
    holder.kill()
    holder.join()
    wanter = context.Process(target=want, args=(lock,))
    wanter.start()
    wanter.join()
