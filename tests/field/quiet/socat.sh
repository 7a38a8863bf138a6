# socat relays a slow client to a child
# needs: socat
socat "UNIX-LISTEN:$PWD/s" EXEC:cat & server=$!
sleep 0.5
(echo one; sleep @REST@; echo two) | socat - "UNIX-CONNECT:$PWD/s" >/dev/null
wait $server
