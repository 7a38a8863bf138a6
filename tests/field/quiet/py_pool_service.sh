# a service with an idle pool waits for SIGTERM
# needs: 
"$PY" -c '
import multiprocessing, signal, threading
stop = threading.Event(); signal.signal(signal.SIGTERM, lambda *_: stop.set())
pool = multiprocessing.Pool(2); pool.map(abs, range(4)); open("ready", "w").close()
while not stop.wait(3600): pass
pool.terminate()' & service=$!
until [ -e ready ]; do sleep 0.1; done
sleep @REST@; kill $service; wait $service
