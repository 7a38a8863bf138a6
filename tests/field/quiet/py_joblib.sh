# joblib: loky workers at rest between two calls
# needs: python:joblib
"$PY" -c '
import time
from joblib import Parallel, delayed
with Parallel(2) as p: p(delayed(abs)(n) for n in range(4)); time.sleep(@REST@); p(delayed(abs)(n) for n in range(4))'
