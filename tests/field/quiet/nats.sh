# nats-server at rest
# needs: nats-server
nats-server -a 127.0.0.1 -p "$PORT" >log 2>&1 & server=$!
sleep @REST@
kill $server; wait $server; true
