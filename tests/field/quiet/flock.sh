# a lock is handed on
# needs: flock
flock l sleep 3 & sleep 0.5; flock l sleep @REST@; wait
