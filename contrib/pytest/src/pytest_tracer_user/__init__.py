"""pytest plugin: reports why a test hangs, while it hangs.

After --tracer-after seconds of one test, `tracer-user diagnose` inspects the test's process. The report goes to the
job's own standard error, past pytest's capturing, and to the test's result.
"""

import ctypes
import os
import shlex
import shutil
import subprocess
import tempfile
import threading

import pytest

PR_SET_PTRACER, ANY_PROCESS = 0x59616D61, -1
HANG = 1
# Workers of xdist inherit the environment, but no descriptors, and standard error only as pytest captures it.
STDERR_VARIABLE = "TRACER_USER_PYTEST_STDERR"


def _job_stderr():
    """A descriptor of the job's standard error. Plugins are loaded before pytest begins to capture."""
    inherited = os.environ.get(STDERR_VARIABLE)
    if inherited:
        try:
            return os.open(inherited, os.O_WRONLY | os.O_APPEND | os.O_NOCTTY)
        except OSError:
            # Its process has ended, or it is a socket, which cannot be opened again.
            pass
    own = os.dup(2)
    os.environ[STDERR_VARIABLE] = f"/proc/{os.getpid()}/fd/{own}"
    return own


_STDERR = _job_stderr()


def _command():
    return shlex.split(os.environ.get("TRACER_USER_COMMAND", "tracer-user"))


def pytest_addoption(parser):
    group = parser.getgroup("tracer-user")
    default = float(os.environ.get("TRACER_DIAGNOSE_AFTER") or 60)
    help = "ask tracer-user why a test takes longer than this (default: %(default)s; 0: never)"
    group.addoption("--tracer-after", type=float, default=default, metavar="SECONDS", help=help)


def pytest_report_header(config):
    after, command = config.getoption("tracer_after"), _command()
    if after and not shutil.which(command[0]):
        return f"tracer-user: {command[0]} is not installed: hangs are not diagnosed"
    return f"tracer-user: a test that takes {after:g} s is diagnosed" if after else None


def _print(text):
    data = text.encode("utf-8", "backslashreplace")
    while data:
        try:
            data = data[os.write(_STDERR, data):]
        except OSError:
            return


class _Watch:
    """Watches one test, in a thread."""

    def __init__(self, item, after):
        self.item, self.after, self.ended, self.report = item, after, threading.Event(), None
        self.thread = threading.Thread(target=self.run, daemon=True, name="tracer-user")
        self.thread.start()

    def run(self):
        wait = self.after
        while not self.ended.wait(wait):
            status, report = self.diagnose()
            if status == HANG:
                self.report = report
                _print(f"\n{self.item.nodeid} hangs:\n{report}\n")
                return
            if status is None:
                return
            if wait == self.after:
                _print(f"\n{self.item.nodeid} takes longer than {self.after:g} s: no hang is found yet\n")
            wait *= 2

    def diagnose(self):
        """Exit status and report of the tool; no status when it cannot be started."""
        # Where Yama restricts ptrace, a child may inspect its parent only if the parent allows it.
        ctypes.CDLL(None).prctl(PR_SET_PTRACER, ctypes.c_long(ANY_PROCESS), 0, 0, 0)
        with tempfile.TemporaryDirectory(prefix="tracer-user-") as directory:
            path = os.path.join(directory, "report.txt")
            command = _command() + ["diagnose", "--pid", str(os.getpid()), "--report", f"text={path}"]
            # The test's name is in no environment block that others can read, unless a child has it.
            environment = dict(os.environ, PYTEST_CURRENT_TEST=f"{self.item.nodeid} (call)")
            try:
                # No pipe and no time limit: this thread must not look as if it could let the test go on.
                null = subprocess.DEVNULL
                status = subprocess.call(command, stdin=null, stdout=null, stderr=null, env=environment)
                with open(path, encoding="utf-8", errors="replace") as file:
                    return status, file.read()
            except OSError:
                return None, ""

    def stop(self):
        self.ended.set()


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_protocol(item):
    after = item.config.getoption("tracer_after")
    watch = _Watch(item, after) if after > 0 else None
    item._tracer_user_watch = watch
    yield
    if watch:
        watch.stop()


@pytest.hookimpl(hookwrapper=True, tryfirst=True)
def pytest_runtest_makereport(item, call):
    watch = getattr(item, "_tracer_user_watch", None)
    report = watch.report if watch else None
    if report and not any(name == "tracer-user" for name, _ in item.user_properties):
        item.user_properties.append(("tracer-user", report))
        item.add_report_section(call.when, "tracer-user", report)
    yield
