# a worker waits for a shared event that the handler of SIGTERM sets; the service joins it
# needs: 
"$PY" -c '
import multiprocessing, os, signal
event = multiprocessing.Event()
worker = multiprocessing.Process(target=event.wait)
worker.start()
parent = os.getpid()
signal.signal(signal.SIGTERM, lambda *_: event.set()); open("ready", "w").close()
worker.join()' & service=$!
until [ -e ready ]; do sleep 0.1; done
sleep @REST@; kill $service; wait $service
