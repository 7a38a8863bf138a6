"""posix_spawn's child opens a FIFO as its stdin before it executes anything: the parent sleeps in vfork, uninterruptible, with it."""
import os, sys
EXPECT = {"verdict": "orphaned-wait", "class": "fifo-open", "waiter": "root"}

os.mkfifo("queue")
open(os.environ["READY"], "w").close()
os.posix_spawn("/bin/true", ["true"], os.environ, file_actions=[(os.POSIX_SPAWN_OPEN, 0, "queue", os.O_RDONLY, 0)])
