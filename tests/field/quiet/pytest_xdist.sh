# pytest-xdist, one worker idle
# needs: python:pytest python:xdist
printf 'import time\ndef test_a(): time.sleep(@REST@)\ndef test_b(): pass\n' >test_q.py
"$PY" -m pytest -q -n 2 -p no:cacheprovider test_q.py >/dev/null
