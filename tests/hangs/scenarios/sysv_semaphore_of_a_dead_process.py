"""A process took a SysV semaphore, and was killed before it gave it back; the next one waits for ever."""
import ctypes, os, struct, subprocess, sys
EXPECT = {"verdict": "orphaned-wait", "class": "sysv-ipc", "waiter": "waiter"}
libc = ctypes.CDLL(None, use_errno=True)


def operate(semaphore, by):
    libc.semop(int(semaphore), ctypes.create_string_buffer(struct.pack("Hhh", 0, by, 0)), 1)


if "role=taker" in sys.argv:
    operate(sys.argv[1], -1)
    os.kill(os.getpid(), 9)
elif "role=waiter" in sys.argv:
    open(os.environ["READY"], "w").close()
    operate(sys.argv[1], -1)
elif "role=janitor" in sys.argv:
    # Outlives the scenario, which is killed: a semaphore set that nobody removes stays for ever.
    os.read(0, 1)
    libc.semctl(int(sys.argv[1]), 0, 0)
else:
    semaphore = str(libc.semget(0, 1, 0o600))
    subprocess.run([sys.executable, "-c", f"import ctypes, struct; ctypes.CDLL(None).semop({semaphore}, ctypes.create_string_buffer(struct.pack('Hhh', 0, 1, 0)), 1)"])
    clean = {name: value for name, value in os.environ.items() if name != "READY"}
    janitor = subprocess.Popen(
        [sys.executable, __file__, semaphore, "role=janitor"], stdin=subprocess.PIPE, env=clean, start_new_session=True
    )
    subprocess.run([sys.executable, __file__, semaphore, "role=taker"])
    subprocess.run([sys.executable, __file__, semaphore, "role=waiter"])
