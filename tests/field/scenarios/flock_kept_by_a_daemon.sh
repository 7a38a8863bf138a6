#!/bin/bash
# A step takes a lock and starts a daemon, which inherits the lock's descriptor; the next step waits for the lock.
# healthy: the lock is held by a step that is still at work.
cd "$(mktemp -d)" || exit
if [ "$1" = hang ]; then
    bash -c "exec 9>lock; flock 9; exec memcached -d -u root -s $PWD/socket"
else
    bash -c 'exec 9>lock; flock 9; sleep 40' &
fi
sleep 1
flock lock echo second
