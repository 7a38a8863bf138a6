#!/bin/bash
# lockfile(1) tries again and again for a lock whose owner was killed. healthy: the owner is at work and removes it.
cd "$(mktemp -d)" || exit
bash -c 'lockfile job.lock; exec sleep 40' &
owner=$!
sleep 1
if [ "$1" = hang ]; then
    kill -KILL $owner
else
    (while kill -0 $owner; do sleep 1; done; rm -f job.lock) 2>/dev/null &
fi
lockfile -2 job.lock
echo locked
