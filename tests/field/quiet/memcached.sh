# memcached at rest
# needs: memcached nc
memcached -u root -s "$PWD/s" & server=$!
sleep 1; printf 'version\r\nquit\r\n' | nc -U s >/dev/null
sleep @REST@
kill $server; wait $server; true
