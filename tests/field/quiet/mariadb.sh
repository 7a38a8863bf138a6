# MariaDB at rest and a slow query
# needs: mariadbd mariadb mariadb-install-db root
mkdir data tmp; chown mysql data tmp; export TMPDIR=$PWD/tmp
mariadb-install-db --no-defaults --datadir="$PWD/data" --user=mysql --auth-root-authentication-method=normal >/dev/null 2>&1
mariadbd --no-defaults --datadir="$PWD/data" --user=mysql --skip-networking --socket="$PWD/data/s" --pid-file="$PWD/data/pid" >log 2>&1 & server=$!
sql() { mariadb --no-defaults -uroot -S data/s "$@"; }
until sql -e 'select 1' >/dev/null 2>&1; do sleep 0.1; done
sql -e 'select sleep(@REST@)' >/dev/null
kill $server; wait $server
