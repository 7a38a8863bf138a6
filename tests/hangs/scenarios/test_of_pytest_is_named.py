"""The processes of a test carry its name in their environment, as pytest sets it."""
import os, subprocess, sys
EXPECT = {"verdict": "deadlock", "class": "pipe-full", "waiter": "child", "holder": "test", "test": "tests/test_x.py::test_big[1]"}

if "role=child" in sys.argv:
    open(os.environ["READY"], "w").close()
    os.write(1, b"x" * 300_000)
elif "role=test" in sys.argv:
    child = subprocess.Popen([sys.executable, __file__, "role=child"], stdout=subprocess.PIPE)
    child.wait()
else:
    env = {**os.environ, "PYTEST_CURRENT_TEST": "tests/test_x.py::test_big[1] (call)"}
    subprocess.run([sys.executable, __file__, "role=test"], env=env)
