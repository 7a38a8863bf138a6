# a worker waits at a queue for work that comes late
# needs: 
"$PY" -c '
import multiprocessing, time
def work(q, r):
    for item in iter(q.get, None): r.put(item)
q, r = multiprocessing.Queue(), multiprocessing.Queue()
p = multiprocessing.Process(target=work, args=(q, r)); p.start()
time.sleep(@REST@); q.put(1); print(r.get()); q.put(None); p.join()'
