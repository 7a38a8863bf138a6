# To be sourced: a database cluster in a folder of its own, `pg` to run programs as its owner.
d=$(mktemp -d); chown postgres "$d"; cd "$d" || exit
pg() { setpriv --reuid=postgres --regid=postgres --clear-groups "$@"; }
pg "$PGBIN/initdb" -D "$d/data" -A trust -N >/dev/null
export PGHOST=$d PGUSER=postgres
