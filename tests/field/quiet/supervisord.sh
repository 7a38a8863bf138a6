# supervisord with a program at rest
# needs: supervisord
printf '[supervisord]\nnodaemon=true\nlogfile=/dev/null\nlogfile_maxbytes=0\npidfile=%s/pid\n[program:x]\ncommand=sleep 1000\n' "$PWD" >c
supervisord -c c >/dev/null 2>&1 & server=$!
sleep @REST@
kill $server; wait $server; true
