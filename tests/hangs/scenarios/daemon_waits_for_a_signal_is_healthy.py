"""Programs that rest until a signal: in pause, in sigwait, in an event that a handler sets, in an asyncio loop."""
import asyncio, signal, threading
from parts import ROLE, ready, start
EXPECT = {"verdict": "idle"}

if ROLE == "pause":
    signal.pause()
elif ROLE == "sigwait":
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    signal.sigwait({signal.SIGTERM})
elif ROLE == "event":
    end = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: end.set())
    end.wait()
elif ROLE == "loop":

    async def main():
        end = asyncio.Event()
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, end.set)
        await end.wait()

    asyncio.run(main())
else:
    jobs = [start(how) for how in ("pause", "sigwait", "event", "loop")]
    ready()
    for job in jobs:
        job.wait()
