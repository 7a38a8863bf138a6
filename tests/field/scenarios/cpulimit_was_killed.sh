#!/bin/bash
# cpulimit stops and continues a worker in turn; it was killed in between, and the worker stays stopped. healthy: it is alive.
"$FIELD_PYTHON" -c 'import time
end = time.monotonic() + 40
while time.monotonic() < end: sum(range(1000))' &
worker=$!
cpulimit -p $worker -l 20 >/dev/null 2>&1 &
limiter=$!
if [ "$1" = hang ]; then
    sleep 1
    until [ "$(cut -d' ' -f3 /proc/$worker/stat)" = T ]; do sleep 0.003; done
    kill -KILL $limiter
    # The limiter may have continued it in this moment.
    [ "$(cut -d' ' -f3 /proc/$worker/stat)" = T ] || kill -STOP $worker
fi
wait $worker
echo worked
