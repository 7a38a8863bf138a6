#!/bin/bash
# A step waits for one message of a topic, and the step that would publish it has failed. healthy: it is still at work and publishes later.
cd "$(mktemp -d)" || exit
printf 'listener %s 127.0.0.1\nallow_anonymous true\nuser root\n' "$FIELD_PORT" >conf
mosquitto -c conf >log 2>&1 &
broker=$!
sleep 1
[ "$1" = hang ] && step='exit 1' || step="sleep 40; mosquitto_pub -p $FIELD_PORT -t done -m ok"
bash -c "$step" &
mosquitto_sub -p "$FIELD_PORT" -t done -C 1
kill $broker
