# sqlite3 at its prompt, asked after a while
# needs: expect sqlite3
TERM=dumb expect -c 'set timeout 30; log_user 0; set stty_init "rows 24 cols 80"; spawn sqlite3; expect -re {sqlite>}; sleep @REST@; send ".quit\r"; expect eof'
