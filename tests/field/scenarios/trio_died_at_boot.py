# a parent in trio waits for the call of a child that died at its start. healthy: the child calls later
import sys, subprocess, trio
code = "raise SystemExit(1)" if sys.argv[1] == "hang" else "import socket, sys, time; time.sleep(40); socket.create_connection(('127.0.0.1', int(sys.argv[1])))"
async def main():
    [listener] = await trio.open_tcp_listeners(0, host="127.0.0.1")
    port = listener.socket.getsockname()[1]
    async with trio.open_nursery() as nursery:
        process = await trio.lowlevel.open_process([sys.executable, "-c", code, str(port)])
        await listener.accept()
        nursery.cancel_scope.cancel()
    await process.wait()
trio.run(main)
