# gevent: green threads at rest
# needs: python:gevent
"$PY" -c '
import gevent, gevent.queue
q = gevent.queue.Queue(); g = [gevent.spawn(q.get) for _ in range(3)]
gevent.sleep(@REST@); [q.put(1) for _ in g]; gevent.joinall(g)'
