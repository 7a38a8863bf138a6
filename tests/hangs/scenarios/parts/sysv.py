"""SysV semaphores for scenarios, which are killed: a set that nobody removes stays for ever."""
import ctypes, os, struct, subprocess, sys

libc = ctypes.CDLL(None, use_errno=True)
JANITOR = "import ctypes, os, sys; os.read(0, 1); ctypes.CDLL(None).semctl(int(sys.argv[1]), 0, 0)"
janitors = []


def semaphore():
    """A set of one, at 0, removed when the caller is gone; as a word for argv."""
    made = str(libc.semget(0, 1, 0o600))
    # The janitor outlives the scenario, whose processes are known by READY in their environment.
    clean = {name: value for name, value in os.environ.items() if name != "READY"}
    command = [sys.executable, "-c", JANITOR, made, "role=janitor"]
    janitors.append(subprocess.Popen(command, stdin=subprocess.PIPE, env=clean, start_new_session=True))
    return made


def operate(semaphore, by):
    libc.semop(int(semaphore), ctypes.create_string_buffer(struct.pack("Hhh", 0, by, 0)), 1)


def wait(semaphore):
    """Takes it, having said that the scenario is ready."""
    open(os.environ["READY"], "w").close()
    operate(semaphore, -1)
