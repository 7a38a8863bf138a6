# two trio processes, connected by TCP, each waits for the other's line. healthy: one of them answers later
import os, socket, sys, trio
async def main(sock, first):
    stream = trio.SocketStream(trio.socket.from_stdlib_socket(sock))
    if first and sys.argv[1] != "hang":
        await trio.sleep(40)
        await stream.send_all(b"line\n")
    await stream.receive_some(100)
    await stream.send_all(b"line\n")
listener = socket.create_server(("127.0.0.1", 0))
if os.fork():
    sock, _ = listener.accept(); listener.close()
    trio.run(main, sock, True)
else:
    address = listener.getsockname(); listener.close()
    trio.run(main, socket.create_connection(address), False)
