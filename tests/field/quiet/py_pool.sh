# an idle multiprocessing.Pool
# needs: 
"$PY" -c '
import multiprocessing, time
with multiprocessing.Pool(3) as pool:
    pool.map(abs, range(9)); time.sleep(@REST@); pool.map(abs, range(9))'
