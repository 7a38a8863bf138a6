# two asyncio processes, connected by TCP, each waits for the other's line. healthy: one of them answers later
import asyncio, os, socket, sys
async def main(sock, first):
    reader, writer = await asyncio.open_connection(sock=sock)
    if first and sys.argv[1] != "hang":
        await asyncio.sleep(40)
        writer.write(b"line\n")
    await reader.readline()
    writer.write(b"line\n")
listener = socket.create_server(("127.0.0.1", 0))
if os.fork():
    sock, _ = listener.accept(); listener.close()
    asyncio.run(main(sock, True))
else:
    address = listener.getsockname(); listener.close()
    asyncio.run(main(socket.create_connection(address), False))
