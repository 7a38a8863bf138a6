# a result of run_coroutine_threadsafe() is awaited in the loop's own thread. healthy: it is awaited in
# another thread, and comes late
import asyncio, sys
async def main():
    loop = asyncio.get_running_loop()
    ask = lambda: asyncio.run_coroutine_threadsafe(asyncio.sleep(40), loop).result()
    ask() if sys.argv[1] == "hang" else await asyncio.to_thread(ask)
asyncio.run(main())
