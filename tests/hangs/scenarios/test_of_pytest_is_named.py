"""The processes of a test have its name in their environment, as pytest sets it."""
import os, subprocess
from parts import ROLE, ready, run, start
EXPECT = {"verdict": "deadlock", "class": "pipe-full", "waiter": "child", "holder": "test", "test": "tests/test_x.py::test_big[1]"}

if ROLE == "child":
    ready()
    os.write(1, b"x" * 300_000)
elif ROLE == "test":
    child = start("child", stdout=subprocess.PIPE)
    child.wait()
else:
    env = {**os.environ, "PYTEST_CURRENT_TEST": "tests/test_x.py::test_big[1] (call)"}
    run("test", env=env)
