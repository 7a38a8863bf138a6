# idle threads of a pool, main waits for one
# needs: 
"$PY" -c '
import concurrent.futures as f, time
with f.ThreadPoolExecutor(4) as pool: pool.submit(time.sleep, @REST@).result()'
