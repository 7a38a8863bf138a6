#!/bin/bash
# A step captures what `pg_ctl start` prints; the server keeps the pipe, and the capture never ends.
# healthy: the server writes into a log, a query takes its time.
. "$(dirname "$0")/postgres_on_a_socket.sh"
[ "$1" = hang ] && log= || log="-l $d/log"
started=$(pg "$PGBIN/pg_ctl" start -w $log -D "$d/data" -o "-k $d -c listen_addresses=")
echo "$started" | tail -1
psql -qAtc 'select pg_sleep(40)'
pg "$PGBIN/pg_ctl" stop -m fast -D "$d/data" >/dev/null
