# tail -f | grep -m1 until the line comes
# needs: tail
touch log
(sleep @REST@; echo ready >>log; sleep 0.3; echo more >>log) &
tail -f -n0 --pid=$! log | grep -m1 ready >/dev/null
