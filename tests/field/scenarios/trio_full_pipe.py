# a parent in trio waits for the exit of a child that writes into its pipe, which nobody reads. healthy: the
# child is slow and writes little
import sys, subprocess, trio
code = "print('x' * 1_000_000)" if sys.argv[1] == "hang" else "import time; time.sleep(40); print('x')"
async def main():
    process = await trio.lowlevel.open_process([sys.executable, "-c", code], stdout=subprocess.PIPE)
    await process.wait()
trio.run(main)
