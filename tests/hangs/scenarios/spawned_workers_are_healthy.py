"""Spawned workers of a pool at their first piece of work: they hold ends on high numbers, and have not written anything yet."""
import multiprocessing, os, threading, time
EXPECT = {"verdict": "not-hung", "settle": 2.5}

if __name__ == "__main__":
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        threading.Timer(1, lambda: open(os.environ["READY"], "w").close()).start()
        pool.map(time.sleep, [600] * 4, 1)
