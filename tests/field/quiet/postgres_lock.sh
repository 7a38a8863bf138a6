# a transaction waits for another that ends
# needs: postgres psql root
chown postgres .
pg() { setpriv --reuid=postgres --regid=postgres --clear-groups "$@"; }
pg "$PGBIN/initdb" -D "$PWD/data" -A trust -N >/dev/null
pg "$PGBIN/pg_ctl" start -w -l log -D "$PWD/data" -o "-k $PWD -c listen_addresses=" >/dev/null
export PGHOST=$PWD PGUSER=postgres
psql -qAtc 'create table t (n int)'
psql -qAtc 'begin; lock table t; select pg_sleep(@REST@); commit' >/dev/null &
sleep 0.5
psql -qAtc 'select count(*) from t' >/dev/null
wait $!
pg "$PGBIN/pg_ctl" stop -m fast -D "$PWD/data" >/dev/null
