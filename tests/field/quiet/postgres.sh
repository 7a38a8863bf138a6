# PostgreSQL at rest, with a slow query and an idle session
# needs: postgres psql root
chown postgres .
pg() { setpriv --reuid=postgres --regid=postgres --clear-groups "$@"; }
pg "$PGBIN/initdb" -D "$PWD/data" -A trust -N >/dev/null
pg "$PGBIN/pg_ctl" start -w -l log -D "$PWD/data" -o "-k $PWD -c listen_addresses=" >/dev/null
export PGHOST=$PWD PGUSER=postgres
(echo 'select 1;'; sleep @REST@) | psql -qAt >/dev/null &
psql -qAtc 'select pg_sleep(@REST@)' >/dev/null
wait $!
pg "$PGBIN/pg_ctl" stop -m fast -D "$PWD/data" >/dev/null
