# a daemon is left and ended at the end
# needs: setsid
setsid sleep 1000 >/dev/null 2>&1 </dev/null & d=$!
sleep @REST@; kill $d; wait $d; true
