"""A process works while it holds a SysV semaphore; the one that waits for it will get it."""
import ctypes, os, struct, subprocess, sys, time
EXPECT = {"verdict": ["not-hung", "external"]}
libc = ctypes.CDLL(None, use_errno=True)


def operate(semaphore, by):
    libc.semop(int(semaphore), ctypes.create_string_buffer(struct.pack("Hhh", 0, by, 0)), 1)


if "role=worker" in sys.argv:
    operate(sys.argv[1], -1)
    print("taken", flush=True)
    while True:
        time.sleep(0.05)
elif "role=waiter" in sys.argv:
    open(os.environ["READY"], "w").close()
    operate(sys.argv[1], -1)
elif "role=janitor" in sys.argv:
    # Outlives the scenario, which is killed: a semaphore set that nobody removes stays for ever.
    os.read(0, 1)
    libc.semctl(int(sys.argv[1]), 0, 0)
else:
    semaphore = str(libc.semget(0, 1, 0o600))
    operate(semaphore, 1)
    clean = {name: value for name, value in os.environ.items() if name != "READY"}
    janitor = subprocess.Popen(
        [sys.executable, __file__, semaphore, "role=janitor"], stdin=subprocess.PIPE, env=clean, start_new_session=True
    )
    worker = subprocess.Popen([sys.executable, __file__, semaphore, "role=worker"], stdout=subprocess.PIPE)
    worker.stdout.readline()
    subprocess.run([sys.executable, __file__, semaphore, "role=waiter"])
