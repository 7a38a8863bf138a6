"""A pool of worker processes that wait for work, while their parent has other things to do."""
import multiprocessing, os, time
EXPECT = {"verdict": "not-hung"}

if __name__ == "__main__":
    pool = multiprocessing.get_context("fork").Pool(3)
    pool.map(abs, range(9))
    open(os.environ["READY"], "w").close()
    time.sleep(600)
