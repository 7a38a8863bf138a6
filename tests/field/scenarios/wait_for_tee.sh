#!/bin/bash
# The script's output goes through `>(tee)`, and `wait` waits for tee as well, which waits for the script's end. healthy: a background step is slow.
cd "$(mktemp -d)" || exit
exec > >(tee log) 2>&1
tee=$!
if [ "$1" = hang ]; then
    sleep 0.1 &
    wait
else
    sleep 40 &
    wait $!
fi
echo built by $tee
