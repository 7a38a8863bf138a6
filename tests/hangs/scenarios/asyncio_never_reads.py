"""asyncio waits for the exit of a child before it reads: its loop polls the pidfd and its own wake-up socket only."""
import asyncio, os
from parts import ROLE, command, ready
EXPECT = {"verdict": "deadlock", "class": "pipe-full", "waiter": "child", "holder": "root"}


async def main():
    read, write = os.pipe()
    child = await asyncio.create_subprocess_exec(*command("child"), stdout=write)
    os.close(write)
    await child.wait()


if ROLE == "child":
    ready()
    os.write(1, b"x" * 300_000)
else:
    asyncio.run(main())
