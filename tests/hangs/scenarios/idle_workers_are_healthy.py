"""Worker processes of a pool wait for work while their parent does something else."""
import multiprocessing, time
from parts import ready
EXPECT = {"verdict": "idle"}

if __name__ == "__main__":
    pool = multiprocessing.get_context("fork").Pool(3)
    pool.map(abs, range(9))
    ready()
    time.sleep(600)
