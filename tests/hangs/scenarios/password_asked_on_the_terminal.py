"""A program asks for a password on /dev/tty, whatever its stdin is; whoever has the terminal waits for its output."""
import getpass, os, pty, sys
EXPECT = {"verdict": "deadlock", "class": "mutual-read", "waiter": "child", "holder": "root"}

if "role=child" in sys.argv:
    open(os.environ["READY"], "w").close()
    getpass.getpass()
else:
    child, master = pty.fork()
    if child == 0:
        os.execv(sys.executable, [sys.executable, __file__, "role=child"])
    while os.read(master, 100):
        pass
