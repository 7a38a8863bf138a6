"""As syslog clients do: an unconnected socket sends to a path, and the daemon that bound it waits for the sender."""
import os, socket, subprocess, sys
EXPECT = {"verdict": "deadlock", "class": "unix-socket-full", "waiter": "sender", "holder": "root"}

if "role=sender" in sys.argv:
    out = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    open(os.environ["READY"], "w").close()
    while True:
        out.sendto(b"x" * 100, "log")
else:
    log = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    log.bind("log")
    subprocess.run([sys.executable, __file__, "role=sender"])
    log.recv(1)
