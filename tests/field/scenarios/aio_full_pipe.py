# an asyncio parent waits for the exit of a child that writes into a pipe that nobody reads. healthy:
# communicate(), the child is slow
import asyncio, sys
hang = sys.argv[1] == "hang"
code = "print('x' * 10_000_000)" if hang else "import time; time.sleep(40); print('x' * 10_000_000)"
async def main():
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", code, stdout=asyncio.subprocess.PIPE)
    await (process.wait() if hang else process.communicate())
asyncio.run(main())
