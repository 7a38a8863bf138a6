# an idle ProcessPoolExecutor
# needs: 
"$PY" -c '
import concurrent.futures as f, time
with f.ProcessPoolExecutor(2) as pool:
    list(pool.map(abs, range(9))); time.sleep(@REST@); list(pool.map(abs, range(9)))'
