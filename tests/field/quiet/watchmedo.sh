# watchmedo waits for changes until it is ended
# needs: python:watchdog
"$PY" -m watchdog.watchmedo log . >/dev/null 2>&1 & w=$!
sleep @REST@; touch a; sleep 1
kill $w; wait $w; true
