"""Programs that rest until a signal: in pause, in sigwait, in an event that a handler sets, in an asyncio loop."""
import asyncio, signal, threading
from parts import ROLE, ready, start
EXPECT = {"verdict": "not-hung"}

if ROLE == "pause":
    signal.pause()
elif ROLE == "sigwait":
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    signal.sigwait({signal.SIGTERM})
elif ROLE == "event":
    threading.Event().wait()
elif ROLE == "loop":
    asyncio.run(asyncio.Event().wait())
else:
    jobs = [start(how) for how in ("pause", "sigwait", "event", "loop")]
    ready()
    for job in jobs:
        job.wait()
