# nc -l waits for its client
# needs: nc
nc -l 127.0.0.1 "$PORT" >got & server=$!
sleep @REST@; echo hi | nc -N 127.0.0.1 "$PORT"
wait $server
