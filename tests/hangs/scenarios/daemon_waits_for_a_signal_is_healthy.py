"""Programs at rest until a signal ends them: in pause, in sigwait, in an event that a handler sets, in an asyncio loop."""
import asyncio, os, signal, subprocess, sys, threading
EXPECT = {"verdict": "not-hung"}

if "role=pause" in sys.argv:
    signal.pause()
elif "role=sigwait" in sys.argv:
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    signal.sigwait({signal.SIGTERM})
elif "role=event" in sys.argv:
    threading.Event().wait()
elif "role=loop" in sys.argv:
    asyncio.run(asyncio.Event().wait())
else:
    jobs = [subprocess.Popen([sys.executable, __file__, f"role={how}"]) for how in ("pause", "sigwait", "event", "loop")]
    open(os.environ["READY"], "w").close()
    for job in jobs:
        job.wait()
