# redis at rest, with an idle client
# needs: redis-server redis-cli
redis-server --port 0 --unixsocket "$PWD/s" --save '' >log & server=$!
until redis-cli -s s ping >/dev/null 2>&1; do sleep .1; done
(sleep @REST@; echo ping) | redis-cli -s s >/dev/null
redis-cli -s s shutdown; wait $server
