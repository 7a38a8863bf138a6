"""pytest plug-in: asks tracer-user why a test takes so long, while the test is still running.

Copy this into your conftest.py. TRACER_DIAGNOSE_AFTER is the number of seconds after which to ask (60).
"""
import ctypes, os, subprocess, threading

import pytest

AFTER_SECONDS = float(os.environ.get("TRACER_DIAGNOSE_AFTER", "60"))
PR_SET_PTRACER, ANY_PROCESS = 0x59616D61, -1


def diagnose(item, ended):
    if ended.wait(AFTER_SECONDS):
        return
    # Where Yama restricts ptrace, a child may inspect its parent only if the parent allows it.
    ctypes.CDLL(None).prctl(PR_SET_PTRACER, ctypes.c_long(ANY_PROCESS), 0, 0, 0)
    report = os.path.abspath(f"hang-{os.getpid()}.txt")
    command = ["tracer-user", "diagnose", "--pid", str(os.getpid()), "--report", f"text={report}"]
    # No pipe and no time-out: this thread must not look as if it could let the test go on.
    status = subprocess.call(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    reporter = item.config.pluginmanager.get_plugin("terminalreporter")
    if status == 1 and reporter:
        with open(report) as file:
            reporter.write_line(f"\n{item.nodeid} hangs:\n{file.read()}")
        reporter.flush()


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_protocol(item):
    ended = threading.Event()
    threading.Thread(target=diagnose, args=(item, ended), daemon=True).start()
    yield
    ended.set()
