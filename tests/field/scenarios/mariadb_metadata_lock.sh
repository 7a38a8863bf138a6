#!/bin/bash
# DROP TABLE waits for a session of the same job that is idle in its transaction. healthy: that session is at work and will commit.
cd "$(mktemp -d)" || exit
chmod 711 . && mkdir data tmp && chown mysql data tmp
export TMPDIR=$PWD/tmp
mariadb-install-db --no-defaults --datadir="$PWD/data" --user=mysql --auth-root-authentication-method=normal >/dev/null 2>&1 || exit
mariadbd --no-defaults --datadir="$PWD/data" --user=mysql --skip-networking --socket="$PWD/data/s" --pid-file="$PWD/data/pid" >log 2>&1 &
server=$!
sql() { mariadb --no-defaults -uroot -S data/s "$@"; }
for _ in $(seq 100); do sql -e 'select 1' >/dev/null 2>&1 && break; sleep 0.1; done
sql -e 'create database app; create table app.item (id int) engine=innodb'
coproc HOLDER { sql -nN app; }
[ "$1" = hang ] && more= || more='select sleep(40); commit;'
echo "start transaction; select count(*) from item; $more" >&"${HOLDER[1]}"
read -r _ <&"${HOLDER[0]}"
sql app -e 'drop table item'
echo dropped
kill $server
