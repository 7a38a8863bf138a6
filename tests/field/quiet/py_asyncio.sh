# asyncio: a server, its idle clients, a timer
# needs: 
"$PY" -c '
import asyncio
async def main():
    server = await asyncio.start_server(lambda r, w: None, "127.0.0.1", 0)
    ends = [await asyncio.open_connection(*server.sockets[0].getsockname()) for _ in range(5)]
    await asyncio.sleep(@REST@)
asyncio.run(main())'
