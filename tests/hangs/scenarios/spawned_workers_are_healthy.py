"""Workers at their first task hold pipe ends on high numbers, as a pool of spawned ones does, and have written nothing yet."""
import os, sys, time
from parts import ROLE, ready, start
EXPECT = {"verdict": "idle"}

if ROLE == "worker":
    os.read(int(sys.argv[1]), 1)
    time.sleep(600)
else:
    tasks, give = os.pipe()
    take, results = os.pipe()
    for _ in range(2):
        start("worker", str(tasks), str(results), pass_fds=[tasks, results])
    os.close(tasks)
    os.close(results)
    os.write(give, b"12")
    ready()
    os.read(take, 1)
