"""sleep | cat | wc: readers that wait for a writer which has its time."""
import os, subprocess
EXPECT = {"verdict": "not-hung"}

open(os.environ["READY"], "w").close()
subprocess.run(["sh", "-c", "(sleep 600; echo done) | cat | wc -l"])
