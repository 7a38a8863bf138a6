# a service with an idle ProcessPoolExecutor waits for SIGTERM without a time-out
# needs: 
"$PY" -c '
import concurrent.futures, signal, threading
stop = threading.Event(); signal.signal(signal.SIGTERM, lambda *_: stop.set())
with concurrent.futures.ProcessPoolExecutor(2) as pool:
    list(pool.map(abs, range(4))); open("ready", "w").close()
    stop.wait()' & service=$!
until [ -e ready ]; do sleep 0.1; done
sleep @REST@; kill $service; wait $service
