# a Pool, two of its workers idle, one at work
# needs: 
"$PY" -c '
import multiprocessing, time
with multiprocessing.Pool(3) as pool: pool.map(time.sleep, [@REST@, 0.1, 0.1], 1)'
