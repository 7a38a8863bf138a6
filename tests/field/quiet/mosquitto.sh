# a subscriber gets its message after a while
# needs: mosquitto mosquitto_sub mosquitto_pub
printf 'listener %s 127.0.0.1\nallow_anonymous true\nuser root\n' "$PORT" >c
mosquitto -c c >log 2>&1 & server=$!
sleep 1
(sleep @REST@; mosquitto_pub -p "$PORT" -t t -m ok) &
mosquitto_sub -p "$PORT" -t t -C 1 >/dev/null
kill $server; wait $server; true
