# a shell waits for its children until SIGHUP
# needs: bash
bash -c 'trap "kill %1; exit 0" HUP; sleep infinity & touch ready; wait' & service=$!
until [ -e ready ]; do sleep 0.1; done
sleep @REST@; kill -HUP $service; wait $service
