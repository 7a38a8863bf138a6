# r at its prompt, asked after a while
# needs: expect R
TERM=dumb expect -c 'set timeout 30; log_user 0; set stty_init "rows 24 cols 80"; spawn R --no-save -q; expect -re {>}; sleep @REST@; send "q()\r"; expect eof'
