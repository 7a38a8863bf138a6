"""The child of posix_spawn opens a FIFO before it executes. The parent sleeps in vfork, uninterruptible, until it does."""
import os
from parts import ready
EXPECT = {"verdict": "orphaned-wait", "class": "fifo-open", "waiter": "root"}

os.mkfifo("queue")
ready()
os.posix_spawn("/bin/true", ["true"], os.environ, file_actions=[(os.POSIX_SPAWN_OPEN, 0, "queue", os.O_RDONLY, 0)])
