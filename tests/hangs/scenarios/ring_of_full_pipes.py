"""Three processes in a ring, each writing to the next before it reads."""
import os
from parts import ROLE, ready, start
EXPECT = {"verdict": "deadlock", "class": "pipe-full", "waiter": ["0", "1", "2"], "holder": ["0", "1", "2"]}

if ROLE == "root":
    pipes = [os.pipe() for _ in range(3)]
    parts = [
        start(n, stdin=pipes[n][0], stdout=pipes[(n + 1) % 3][1])
        for n in range(3)
    ]
    for end in sum(pipes, ()):
        os.close(end)
    ready()
    parts[0].wait()
else:
    os.write(1, b"x" * 300_000)
    os.read(0, 1)
