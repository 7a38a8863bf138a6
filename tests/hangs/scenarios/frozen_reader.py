"""The only reader of a full pipe sits in a frozen cgroup: in /proc it looks asleep."""
import os, pathlib, subprocess, sys, time
EXPECT = {"verdict": "orphaned-wait", "class": ["pipe-full", "stopped"], "waiter": "writer", "holder": "reader"}

if "role=reader" in sys.argv:
    while True:
        os.read(0, 1)
        time.sleep(1)
elif "role=writer" in sys.argv:
    open(os.environ["READY"], "w").close()
    os.write(1, b"x" * 300_000)
elif "role=janitor" in sys.argv:
    # Outlives the scenario, which is killed, to remove its cgroup.
    group = pathlib.Path(sys.argv[1])
    while "populated 1" in (group / "cgroup.events").read_text():
        time.sleep(0.05)
    group.rmdir()
else:
    mounts = [line.split() for line in open("/proc/self/mounts")]
    top = next(pathlib.Path(fields[1]) for fields in mounts if fields[2] == "cgroup2")
    group = top / f"tracer-user-scenario-{os.getpid()}"
    group.mkdir()
    reader = subprocess.Popen([sys.executable, __file__, "role=reader"], stdin=subprocess.PIPE)
    (group / "cgroup.procs").write_text(str(reader.pid))
    (group / "cgroup.freeze").write_text("1")
    while "frozen 1" not in (group / "cgroup.events").read_text():
        time.sleep(0.01)
    clean = {name: value for name, value in os.environ.items() if name != "READY"}
    subprocess.Popen([sys.executable, __file__, str(group), "role=janitor"], env=clean, start_new_session=True)
    writer = subprocess.Popen([sys.executable, __file__, "role=writer"], stdout=reader.stdin)
    reader.stdin.close()
    writer.wait()
