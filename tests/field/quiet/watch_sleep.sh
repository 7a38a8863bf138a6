# a heartbeat loop
# needs: timeout sleep
for n in 1 2 3; do timeout 30 sleep 2; echo $n; done
