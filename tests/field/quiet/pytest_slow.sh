# pytest with slow tests
# needs: python:pytest
printf 'import time\ndef test_a(): time.sleep(@REST@)\n' >test_q.py
"$PY" -m pytest -q -p no:cacheprovider test_q.py >/dev/null
