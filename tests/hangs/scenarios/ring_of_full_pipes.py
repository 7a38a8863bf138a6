"""Three processes in a ring, each writing to the next one before it reads."""
import os, subprocess, sys
EXPECT = {"verdict": "deadlock", "class": "pipe-full", "waiter": ["0", "1", "2"], "holder": ["0", "1", "2"]}

if "role=root" in sys.argv:
    pipes = [os.pipe() for _ in range(3)]
    parts = [
        subprocess.Popen([sys.executable, __file__, f"role={n}"], stdin=pipes[n][0], stdout=pipes[(n + 1) % 3][1])
        for n in range(3)
    ]
    for end in sum(pipes, ()):
        os.close(end)
    open(os.environ["READY"], "w").close()
    parts[0].wait()
else:
    os.write(1, b"x" * 300_000)
    os.read(0, 1)
