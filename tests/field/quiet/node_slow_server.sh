# curl waits for a server of node
# needs: node curl
node -e 'const s = require("http").createServer((q, a) => setTimeout(() => { a.end("ok"); s.close(); }, @REST@000)).listen('"$PORT"', "127.0.0.1")' &
sleep 1; curl -s "http://127.0.0.1:$PORT/" >/dev/null
wait
