# a process waits for a lock that another holds for a while
# needs: 
"$PY" -c '
import multiprocessing, time
lock = multiprocessing.Lock()
def hold():
    with lock: time.sleep(@REST@)
p = multiprocessing.Process(target=hold); p.start(); time.sleep(0.5)
with lock: pass
p.join()'
