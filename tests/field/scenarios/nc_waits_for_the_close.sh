#!/bin/bash
# A health check asks a server with nc, which ends when the server closes the connection; redis keeps it open. healthy: the server is slow and closes.
cd "$(mktemp -d)" || exit
redis-server --port "$FIELD_PORT" --bind 127.0.0.1 --save '' --daemonize yes --enable-debug-command yes --logfile "$PWD/log" >/dev/null
until redis-cli -p "$FIELD_PORT" ping >/dev/null 2>&1; do sleep .1; done
if [ "$1" = hang ]; then
    printf 'PING\r\n' | nc 127.0.0.1 "$FIELD_PORT"
else
    printf 'DEBUG SLEEP 40\r\nQUIT\r\n' | nc 127.0.0.1 "$FIELD_PORT"
fi
echo healthy
