# lua at its prompt, asked after a while
# needs: expect lua5.4
TERM=dumb expect -c 'set timeout 30; log_user 0; set stty_init "rows 24 cols 80"; spawn lua5.4; expect -re {>}; sleep @REST@; send "os.exit()\r"; expect eof'
