# a Manager and its client at rest
# needs: 
"$PY" -c '
import multiprocessing, time
with multiprocessing.Manager() as manager:
    d = manager.dict(); d["a"] = 1; time.sleep(@REST@); print(d["a"])'
