# a slow step in a terminal of script(1)
# needs: script
script -qec 'sleep @REST@; echo ok' /dev/null >/dev/null </dev/null
