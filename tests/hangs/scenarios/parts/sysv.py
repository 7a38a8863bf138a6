"""SysV semaphores. A set outlives the scenario, whose processes are killed, until it is removed."""
import ctypes, struct, subprocess, sys
from parts import ready, without_ready

libc = ctypes.CDLL(None, use_errno=True)
JANITOR = "import ctypes, os, sys; os.read(0, 1); ctypes.CDLL(None).semctl(int(sys.argv[1]), 0, 0)"
janitors = []


def semaphore():
    """Makes a set of one, at 0, that is removed when the caller has ended. Gives its id, as a word for a command."""
    made = str(libc.semget(0, 1, 0o600))
    # The runner ends processes with READY in their environment.
    command = [sys.executable, "-c", JANITOR, made, "role=janitor"]
    janitors.append(subprocess.Popen(command, stdin=subprocess.PIPE, env=without_ready(), start_new_session=True))
    return made


def operate(semaphore, by):
    libc.semop(int(semaphore), ctypes.create_string_buffer(struct.pack("Hhh", 0, by, 0)), 1)


def wait(semaphore):
    """Reports that the scenario is ready, and takes the semaphore."""
    ready()
    operate(semaphore, -1)
