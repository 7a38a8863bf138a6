# a worker that is stopped and continued
# needs: cpulimit
cpulimit -l 30 -- "$PY" -c 'import time
end = time.monotonic() + 6
while time.monotonic() < end: sum(range(1000))' >/dev/null
