"""A process that put a large result on a Queue is joined before the result is taken. healthy: it is taken first, the worker is slow."""
import multiprocessing, sys, time

def worker(queue, slow):
    time.sleep(slow)
    queue.put("x" * 5_000_000)

if __name__ == "__main__":
    queue, hang = multiprocessing.Queue(), sys.argv[1] == "hang"
    process = multiprocessing.Process(target=worker, args=(queue, 0 if hang else 40))
    process.start()
    result = None if hang else queue.get()
    process.join()
    print(len(result or queue.get()))
