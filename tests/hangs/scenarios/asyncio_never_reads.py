"""asyncio's way to wait before reading: the loop watches the child's end alone, its own wake-up socket besides."""
import asyncio, os, sys
EXPECT = {"verdict": "deadlock", "class": "pipe-full", "waiter": "child", "holder": "root"}


async def main():
    read, write = os.pipe()
    child = await asyncio.create_subprocess_exec(sys.executable, __file__, "role=child", stdout=write)
    os.close(write)
    await child.wait()


if "role=child" in sys.argv:
    open(os.environ["READY"], "w").close()
    os.write(1, b"x" * 300_000)
else:
    asyncio.run(main())
