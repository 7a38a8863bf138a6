# an asyncio service without a timer waits for SIGTERM
# needs: 
"$PY" -c '
import asyncio, signal
async def main():
    stop = asyncio.Event(); asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    open("ready", "w").close(); await stop.wait()
asyncio.run(main())' & service=$!
until [ -e ready ]; do sleep 0.1; done
sleep @REST@; kill $service; wait $service
