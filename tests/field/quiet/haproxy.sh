# haproxy at rest, with an idle client
# needs: haproxy
printf 'defaults\n mode tcp\n timeout client 1h\n timeout server 1h\n timeout connect 5s\nlisten x\n bind 127.0.0.1:%s\n server y 127.0.0.1:1\n' "$PORT" >c
haproxy -db -f c 2>/dev/null & server=$!
sleep @REST@
kill -TERM $server; wait $server; true
