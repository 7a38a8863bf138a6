#!/bin/bash
# `git clone` of a private repository asks for a user in the job's terminal (expect's), and expect waits for the end. healthy: the server is slow.
cd "$(mktemp -d)" || exit
cat >server.py <<'P'
import http.server, sys, time
class Private(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        if sys.argv[2] != "hang":
            time.sleep(40)
        self.send_response(401); self.send_header("WWW-Authenticate", 'Basic realm="git"'); self.send_header("Content-Length", "0"); self.end_headers()
http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Private).serve_forever()
P
"$FIELD_PYTHON" server.py "$FIELD_PORT" "$1" >log 2>&1 &
server=$!
sleep 1
export HOME=$PWD GIT_CONFIG_NOSYSTEM=1
unset GIT_ASKPASS SSH_ASKPASS GIT_TERMINAL_PROMPT
expect -c "set timeout -1; log_user 0; spawn git clone http://127.0.0.1:$FIELD_PORT/private.git; expect eof"
kill $server
