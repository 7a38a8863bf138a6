"""A process waits for a SysV semaphore that nobody will raise: its last user is dead."""
import ctypes, os, struct, subprocess, sys, time
EXPECT = {"verdict": ["orphaned-wait", "external"], "class": "sysv-ipc", "waiter": "waiter"}
libc = ctypes.CDLL(None, use_errno=True)

if "role=waiter" in sys.argv:
    open(os.environ["READY"], "w").close()
    libc.semop(int(sys.argv[1]), ctypes.create_string_buffer(struct.pack("Hhh", 0, -1, 0)), 1)
elif "role=janitor" in sys.argv:
    # Outlives the scenario, which is killed: a semaphore set that nobody removes stays for ever.
    os.read(0, 1)
    libc.semctl(int(sys.argv[1]), 0, 0)
else:
    semaphore = libc.semget(0, 1, 0o600)
    clean = {name: value for name, value in os.environ.items() if name != "READY"}
    janitor = subprocess.Popen(
        [sys.executable, __file__, str(semaphore), "role=janitor"], stdin=subprocess.PIPE, env=clean, start_new_session=True
    )
    subprocess.run([sys.executable, __file__, str(semaphore), "role=waiter"])
