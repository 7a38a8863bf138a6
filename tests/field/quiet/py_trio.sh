# trio: a child that is slow
# needs: python:trio
"$PY" -c '
import trio
async def main():
    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.run_process, ["sleep", "@REST@"]); nursery.start_soon(trio.sleep, @REST@)
trio.run(main)'
