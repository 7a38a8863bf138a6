# gdb at its prompt, asked after a while
# needs: expect gdb
TERM=dumb expect -c 'set timeout 30; log_user 0; set stty_init "rows 24 cols 80"; spawn gdb -q -nx; expect -re {gdb}; sleep @REST@; send "quit\r"; expect eof'
