# a command under gdb
# needs: gdb
gdb -q -batch -ex run --args sleep @REST@ >/dev/null 2>&1
