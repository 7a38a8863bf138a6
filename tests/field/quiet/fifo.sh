# a named pipe whose writer comes late
# needs: mkfifo
mkfifo f
(sleep @REST@; echo hi >f) &
cat f >/dev/null
