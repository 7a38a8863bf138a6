# lighttpd at rest
# needs: lighttpd curl
printf 'server.document-root = "%s"\nserver.port = %s\nserver.bind = "127.0.0.1"\n' "$PWD" "$PORT" >c
lighttpd -D -f c & server=$!
sleep 1; curl -s "http://127.0.0.1:$PORT/c" >/dev/null
sleep @REST@
kill -INT $server; wait $server; true
