# rsync at a limited rate
# needs: rsync
head -c 600000 /dev/urandom >a; mkdir b; rsync --bwlimit=100 a b/
