# an idle celery worker
# needs: python:celery python:redis redis-server
redis-server --port "$PORT" --bind 127.0.0.1 --save '' >/dev/null & server=$!
printf 'import celery, os\napp = celery.Celery(broker=f"redis://127.0.0.1:{os.environ[chr(80)+chr(79)+chr(82)+chr(84)]}")\n' >tasks.py
"$PY" -m celery -A tasks worker -c 1 -l error >/dev/null 2>&1 & worker=$!
sleep @REST@
kill $worker; wait $worker; kill $server; wait $server; true
