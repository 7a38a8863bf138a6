#!/bin/bash
# A migration waits for an advisory lock that another session of the same job holds, and that session waits for its next command.
# healthy: the session that holds it is at work and will end.
. "$(dirname "$0")/postgres_on_a_socket.sh"
pg "$PGBIN/pg_ctl" start -w -l "$d/log" -D "$d/data" -o "-k $d -c listen_addresses=" >/dev/null
coproc HOLDER { psql -qAt; }
echo 'select pg_advisory_lock(1);' >&"${HOLDER[1]}"
read -r _ <&"${HOLDER[0]}"
[ "$1" = hang ] || { echo 'select pg_sleep(40);'; echo '\q'; } >&"${HOLDER[1]}"
psql -qAtc 'select pg_advisory_lock(1)'
echo migrated
pg "$PGBIN/pg_ctl" stop -m fast -D "$d/data" >/dev/null
