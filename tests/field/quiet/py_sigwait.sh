# a service waits in sigwait()
# needs: 
"$PY" -c '
import signal, threading
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM}); open("ready", "w").close()
signal.sigwait({signal.SIGTERM})' & service=$!
until [ -e ready ]; do sleep 0.1; done
sleep @REST@; kill $service; wait $service
