"""A job was run in a terminal of its own, as ssh -t does; a daemon of it keeps the terminal, so that its end never comes."""
import os, signal, subprocess, sys, time
EXPECT = {"verdict": "orphaned-wait", "class": "eof-never", "waiter": "root", "holder": "daemon"}

if "role=daemon" in sys.argv:
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    open(os.environ["READY"], "w").close()
    time.sleep(600)
elif "role=job" in sys.argv:
    subprocess.Popen([sys.executable, __file__, "role=daemon"], start_new_session=True)
else:
    master, slave = os.openpty()
    job = subprocess.Popen([sys.executable, __file__, "role=job"], stdin=slave, stdout=slave, stderr=slave, start_new_session=True)
    os.close(slave)
    job.wait()
    while os.read(master, 4096):
        pass
