# uvicorn with no clients
# needs: python:uvicorn
printf 'async def app(scope, receive, send):\n    pass\n' >web.py
"$PY" -m uvicorn --port "$PORT" --log-level error web:app & server=$!
sleep @REST@
kill $server; wait $server; true
