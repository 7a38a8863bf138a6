# a process waits for an event that comes late
# needs: 
"$PY" -c '
import multiprocessing, time
event = multiprocessing.Event()
p = multiprocessing.Process(target=event.wait); p.start(); time.sleep(@REST@); event.set(); p.join()'
