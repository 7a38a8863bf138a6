#!/bin/bash
# A step waits with inotifywait for a file that was there before the watch began. healthy: the file comes later.
cd "$(mktemp -d)" || exit
[ "$1" = hang ] && delay=0 || delay=40
(sleep $delay; touch ready) &
sleep 1
inotifywait -qq -e create .
echo ready
