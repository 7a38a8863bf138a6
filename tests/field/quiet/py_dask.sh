# dask: a local cluster at rest, a slow task
# needs: python:distributed
"$PY" -c '
import time
from distributed import Client
if __name__ == "__main__":
    with Client(n_workers=1, threads_per_worker=1, processes=False, dashboard_address=None) as c: c.submit(time.sleep, @REST@).result()' 2>/dev/null
