# psql at its prompt
# needs: expect postgres psql root
chown postgres .
pg() { setpriv --reuid=postgres --regid=postgres --clear-groups "$@"; }
pg "$PGBIN/initdb" -D "$PWD/data" -A trust -N >/dev/null
pg "$PGBIN/pg_ctl" start -w -l log -D "$PWD/data" -o "-k $PWD -c listen_addresses=" >/dev/null
export PGHOST=$PWD PGUSER=postgres
TERM=dumb expect -c 'set timeout 30; log_user 0; set stty_init "rows 24 cols 80"; spawn psql -qn; expect "=#"; sleep @REST@; send "\\q\r"; expect eof'
pg "$PGBIN/pg_ctl" stop -m fast -D "$PWD/data" >/dev/null
