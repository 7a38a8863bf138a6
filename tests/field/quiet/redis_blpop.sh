# BLPOP, and the push comes
# needs: redis-server redis-cli
redis-server --port 0 --unixsocket "$PWD/s" --save '' >log & server=$!
until redis-cli -s s ping >/dev/null 2>&1; do sleep .1; done
(sleep @REST@; redis-cli -s s lpush jobs one >/dev/null) &
redis-cli -s s blpop jobs 0 >/dev/null
redis-cli -s s shutdown; wait $server
