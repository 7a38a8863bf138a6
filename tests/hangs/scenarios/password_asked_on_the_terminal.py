"""A program asks for a password on /dev/tty. The process at the other end of the terminal waits for its output."""
import getpass, os, pty, sys
from parts import ROLE, command, ready
EXPECT = {"verdict": "deadlock", "class": "mutual-read", "waiter": "child", "holder": "root"}

if ROLE == "child":
    ready()
    getpass.getpass()
else:
    child, master = pty.fork()
    if child == 0:
        os.execv(sys.executable, command("child"))
    while os.read(master, 100):
        pass
