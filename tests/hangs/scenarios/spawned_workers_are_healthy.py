"""Workers at their first piece of work: they hold ends on high numbers, as a pool of spawned ones does, and have not written anything yet."""
import os, subprocess, sys, time
EXPECT = {"verdict": "not-hung"}

if "role=worker" in sys.argv:
    os.read(int(sys.argv[1]), 1)
    time.sleep(600)
else:
    tasks, give = os.pipe()
    take, results = os.pipe()
    for _ in range(2):
        subprocess.Popen([sys.executable, __file__, str(tasks), str(results), "role=worker"], pass_fds=[tasks, results])
    os.close(tasks)
    os.close(results)
    os.write(give, b"12")
    open(os.environ["READY"], "w").close()
    os.read(take, 1)
