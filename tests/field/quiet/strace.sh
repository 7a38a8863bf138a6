# strace -f of a slow command
# needs: strace
strace -f -o log sleep @REST@
