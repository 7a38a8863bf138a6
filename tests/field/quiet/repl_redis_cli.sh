# redis-cli at its prompt
# needs: expect redis-server redis-cli
redis-server --port 0 --unixsocket "$PWD/s" --save '' >log & server=$!
until redis-cli -s s ping >/dev/null 2>&1; do sleep .1; done
TERM=dumb expect -c 'set timeout 30; log_user 0; set stty_init "rows 24 cols 80"; spawn redis-cli -s s; expect ">"; sleep @REST@; send "quit\r"; expect eof'
redis-cli -s s shutdown; wait $server
