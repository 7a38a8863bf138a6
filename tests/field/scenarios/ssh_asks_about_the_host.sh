#!/bin/bash
# The first ssh to a box asks whether its key is right, in the job's terminal (expect's); expect waits for the end. healthy: the script says yes after a while.
d=$("$(dirname "$0")"/sshd_on_loopback.sh)
ssh="ssh -F $d/ssh_config -o StrictHostKeyChecking=ask box echo deployed"
if [ "$1" = hang ]; then
    expect -c "set timeout -1; log_user 0; spawn $ssh; expect eof"
else
    expect -c "set timeout -1; log_user 0; spawn $ssh; expect (yes/no; sleep 40; send yes\r; expect eof"
fi
