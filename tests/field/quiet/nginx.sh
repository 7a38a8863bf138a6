# nginx at rest, one request
# needs: nginx curl
cat >c <<C
daemon off; pid $PWD/pid; error_log $PWD/err; worker_processes 2;
events {} http { access_log off; client_body_temp_path $PWD/b; server { listen 127.0.0.1:$PORT; location / { return 200 ok; } } }
C
nginx -c "$PWD/c" & server=$!
sleep 1; curl -sf "http://127.0.0.1:$PORT/" >/dev/null
sleep @REST@
nginx -c "$PWD/c" -s quit; wait $server
