# node at its prompt, asked after a while
# needs: expect node
TERM=dumb expect -c 'set timeout 30; log_user 0; set stty_init "rows 24 cols 80"; spawn node; expect -re {>}; sleep @REST@; send ".exit\r"; expect eof'
