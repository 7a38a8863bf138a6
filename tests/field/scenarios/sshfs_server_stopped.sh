#!/bin/bash
# A folder is mounted by sshfs; its server answers no more. A process that looks into the folder waits in the kernel.
d=$("$(dirname "$0")"/sshd_on_loopback.sh); m=$(mktemp -d); mkdir $m/far $m/near; echo text >$m/far/file
sshfs -F $d/ssh_config box:$m/far $m/near -o cache=no || exit
trap 'fusermount -uz $m/near' EXIT
server=$(pgrep -P "$(cat $d/pid)"); kill -STOP $server
ls -l $m/near
