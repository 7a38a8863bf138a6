# xargs -P with slow commands
# needs: xargs
printf '@REST@\n4\n1\n' | xargs -P 2 -n 1 sleep
