# a client reserves a job that comes
# needs: beanstalkd nc
beanstalkd -l 127.0.0.1 -p "$PORT" & server=$!
sleep 1
(sleep @REST@; printf 'put 0 0 10 2\r\nhi\r\nquit\r\n' | nc 127.0.0.1 "$PORT" >/dev/null) &
(printf 'reserve\r\n'; sleep @REST@; printf 'quit\r\n') | nc 127.0.0.1 "$PORT" >/dev/null
kill $server; wait $server; true
