# python -m http.server with no clients
# needs: 
"$PY" -m http.server "$PORT" --bind 127.0.0.1 >/dev/null 2>&1 & server=$!
sleep @REST@
kill $server; wait $server; true
