# a client asks a server left in the background over a UNIX socket
# needs: node curl
setsid node -e 'require("http").createServer((q, a) => setTimeout(() => a.end("ok"), @REST@000)).listen("s")' >/dev/null 2>&1 </dev/null & server=$!
until [ -S s ]; do sleep 0.1; done
curl -s --unix-socket s http://x/ >/dev/null
kill $server; wait $server; true
