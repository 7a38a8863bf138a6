"""A task of a thread pool waits for another task of the same pool, which has no thread left. healthy: the inner task is slow in a pool of its own."""
import sys, time
from concurrent.futures import ThreadPoolExecutor
outer = ThreadPoolExecutor(1)
inner = outer if sys.argv[1] == "hang" else ThreadPoolExecutor(1)
print(outer.submit(lambda: inner.submit(time.sleep, 40).result()).result())
