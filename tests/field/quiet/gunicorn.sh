# gunicorn with two workers and no clients
# needs: python:gunicorn
printf 'def app(e, s):\n    s("200 OK", [])\n    return [b"ok"]\n' >web.py
"$PY" -m gunicorn -w 2 -b "127.0.0.1:$PORT" web:app 2>/dev/null & server=$!
sleep @REST@
kill $server; wait $server; true
