"""The processes of one case: how they are started, found again and ended.

Every process that a case starts is one of: a descendant of its command, a member of its session, a process that carries
the case's mark in its environment, or a process whose working directory or command line lies in the case's folder
(servers that overwrite their environment). `Job.end` sends SIGKILL to all of them and to nothing else.
"""
import glob
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import uuid

PYTHON = shutil.which(os.environ.get("FIELD_PYTHON") or "python3") or sys.executable
MODULES = os.path.abspath(os.environ.get("FIELD_NODE_MODULES") or "node_modules")
# PostgreSQL's server programs are on no PATH under Debian.
POSTGRES = sorted(glob.glob("/usr/lib/postgresql/*/bin"))[-1:]
SEARCH_PATH = list(
    dict.fromkeys(
        [os.path.dirname(PYTHON)]
        + os.environ.get("PATH", "").split(":")
        + ["/usr/local/sbin", "/usr/sbin", "/sbin"]
        + POSTGRES
    )
)
# Variables that make a program behave as if it were started by something else.
NOT_INHERITED = ("PYTEST_CURRENT_TEST", "TMUX", "STY", "SSH_AUTH_SOCK", "CI", "MAKEFLAGS", "MFLAGS", "GPG_TTY", "DISPLAY")


def which(name):
    return shutil.which(name, path=":".join(SEARCH_PATH))


def has_python_module(module):
    code = "import importlib.util as u, sys; sys.exit(u.find_spec(sys.argv[1]) is None)"
    return subprocess.run([PYTHON, "-c", code, module], capture_output=True, timeout=60).returncode == 0


def missing(needs):
    """The first need that this machine does not meet, or None."""
    for need in needs:
        kind, _, what = need.rpartition(":")
        if need == "root":
            there = os.geteuid() == 0
        elif kind == "python":
            there = has_python_module(what)
        elif kind == "node":
            there = os.path.isdir(os.path.join(MODULES, what))
        elif need.startswith("/"):
            there = os.path.exists(need)
        else:
            there = which(need) is not None
        if not there:
            return need
    return None


def processes():
    """pid -> (parent, start time, session) of every process that is no zombie."""
    table = {}
    for name in os.listdir("/proc"):
        if not name.isdigit():
            continue
        try:
            fields = pathlib.Path("/proc", name, "stat").read_bytes().rsplit(b")", 1)[1].split()
        except (OSError, IndexError):
            continue
        if fields[0] not in b"ZX":
            table[int(name)] = (int(fields[1]), fields[19], int(fields[3]))
    return table


class Job:
    """One run of a case: its folder, its port, its environment and its processes."""

    def __init__(self):
        self.work = tempfile.mkdtemp(prefix="field-")
        os.chmod(self.work, 0o711)  # servers that drop their privileges have to get through
        self.mark = uuid.uuid4().hex
        self.known = {}  # pid -> start time, so that a reused pid is not taken for the case's
        with socket.socket() as s:
            s.bind(("127.0.0.1", 0))
            self.port = s.getsockname()[1]
        self.env = dict(
            os.environ,
            FIELD_CASE=self.mark,
            FIELD_WORK=self.work,
            FIELD_PORT=str(self.port),
            FIELD_PYTHON=PYTHON,
            NODE_MODULES=MODULES,
            TMPDIR=self.work,
            PATH=":".join(SEARCH_PATH),
            PYTHONUNBUFFERED="1",
        )
        for name in NOT_INHERITED:
            self.env.pop(name, None)
        initdb = which("initdb")
        if initdb:
            real = os.path.realpath(initdb)
            self.env["PGBIN"] = os.path.dirname(real if "postgresql" in real else initdb)

    def words(self, words, scenarios):
        """A command of cases.json with its placeholders replaced."""
        values = {"python": PYTHON, "dir": str(scenarios), "work": self.work, "port": str(self.port)}
        for name, value in values.items():
            words = [word.replace("{" + name + "}", value) for word in words]
        return words

    def build(self, words):
        """Runs the case's build step. Returns None, or the last words of what went wrong."""
        done = subprocess.run(
            words, cwd=self.work, env=self.env, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=180
        )
        return (done.stderr or done.stdout).strip()[-120:] if done.returncode else None

    def start(self, words, out):
        process = subprocess.Popen(
            words, cwd=self.work, env=self.env, stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True
        )
        try:
            self.known[process.pid] = processes()[process.pid][1]
        except KeyError:
            pass
        return process

    def wait(self, process, seconds):
        """The status of the command, or None when it still runs after this many seconds."""
        deadline = time.monotonic() + seconds
        while process.poll() is None and time.monotonic() < deadline:
            self.extend()
            time.sleep(min(0.25, max(0.01, deadline - time.monotonic())))
        return process.poll()

    def extend(self):
        """Adds the children and session members of known processes, while the links to them still exist."""
        table = processes()
        is_known = lambda pid: pid in self.known and pid in table and self.known[pid] == table[pid][1]
        more = True
        while more:
            more = [
                pid
                for pid, (parent, _, session) in table.items()
                if pid not in self.known and (is_known(parent) or is_known(session))
            ]
            for pid in more:
                self.known[pid] = table[pid][1]
        return table

    def alive(self):
        """All processes of the case."""
        table = self.extend()
        mark, folder = f"FIELD_CASE={self.mark}".encode(), self.work.encode() + b"/"
        for pid in table:
            if pid in self.known or pid == os.getpid():
                continue
            try:
                proc = pathlib.Path("/proc", str(pid))
                cwd = os.readlink(proc / "cwd").encode() + b"/"
                marked = mark in (proc / "environ").read_bytes().split(b"\0")
                if marked or cwd.startswith(folder) or folder in (proc / "cmdline").read_bytes():
                    self.known[pid] = table[pid][1]
            except OSError:
                continue
        table = self.extend()
        return [pid for pid, start in self.known.items() if pid in table and table[pid][1] == start and pid != os.getpid()]

    def mounts(self):
        with open("/proc/self/mountinfo") as lines:
            places = [line.split()[4] for line in lines]
        return [place for place in places if place.startswith(self.work + "/")]

    def unmount(self):
        fusermount = which("fusermount3") or which("fusermount")
        for place in self.mounts():
            for words in ([fusermount, "-uz", place] if fusermount else None, ["umount", "-l", place]):
                try:
                    if words and subprocess.run(words, capture_output=True, timeout=10).returncode == 0:
                        break
                except (OSError, subprocess.TimeoutExpired):
                    pass

    def end(self):
        """Ends every process of the case and removes its folder. Returns what could not be ended, or None."""
        for _ in range(40):
            self.unmount()
            left = self.alive()
            for pid in left:
                kill(pid, self.known[pid])
            if not left and not self.mounts():
                shutil.rmtree(self.work, ignore_errors=True)
                return None
            time.sleep(0.1)
        return f"left behind: {left} {self.mounts()}"


def kill(pid, start):
    """SIGKILL through a pidfd, so that it cannot reach another process that got this number."""
    try:
        pidfd = os.pidfd_open(pid)
    except OSError:
        return
    try:
        if processes().get(pid, (0, None, 0))[1] == start:
            signal.pidfd_send_signal(pidfd, signal.SIGKILL)
    except OSError:
        pass
    finally:
        os.close(pidfd)
