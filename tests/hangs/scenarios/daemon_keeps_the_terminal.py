"""A job ran in a terminal of its own, as with ssh -t. A daemon of it keeps the terminal open, so its end never comes."""
import os, signal, time
from parts import ROLE, ready, start
EXPECT = {"verdict": "orphaned-wait", "class": "eof-never", "waiter": "root", "holder": "daemon"}

if ROLE == "daemon":
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    ready()
    time.sleep(600)
elif ROLE == "job":
    start("daemon", start_new_session=True)
else:
    master, slave = os.openpty()
    job = start("job", stdin=slave, stdout=slave, stderr=slave, start_new_session=True)
    os.close(slave)
    job.wait()
    while os.read(master, 4096):
        pass
