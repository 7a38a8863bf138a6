"""The only reader of a full pipe is in a frozen cgroup, where /proc shows it as asleep."""
import os, pathlib, subprocess, sys, time
from parts import ROLE, outlives, ready, start
EXPECT = {"verdict": "orphaned-wait", "class": ["pipe-full", "stopped"], "waiter": "writer", "holder": "reader"}

if ROLE == "reader":
    while True:
        os.read(0, 1)
        time.sleep(1)
elif ROLE == "writer":
    ready()
    os.write(1, b"x" * 300_000)
elif ROLE == "janitor":
    # Removes the cgroup of the scenario, which is killed.
    group = pathlib.Path(sys.argv[1])
    while "populated 1" in (group / "cgroup.events").read_text():
        time.sleep(0.05)
    group.rmdir()
else:
    mounts = [line.split() for line in open("/proc/self/mounts")]
    top = next(pathlib.Path(fields[1]) for fields in mounts if fields[2] == "cgroup2")
    group = top / f"tracer-user-scenario-{os.getpid()}"
    group.mkdir()
    reader = start("reader", stdin=subprocess.PIPE)
    (group / "cgroup.procs").write_text(str(reader.pid))
    (group / "cgroup.freeze").write_text("1")
    while "frozen 1" not in (group / "cgroup.events").read_text():
        time.sleep(0.01)
    outlives("janitor", str(group))
    writer = start("writer", stdout=reader.stdin)
    reader.stdin.close()
    writer.wait()
