#!/bin/bash
# A step writes its log into a named pipe, whose reader has failed at its start. healthy: the reader opens it later.
cd "$(mktemp -d)" || exit
mkfifo log
[ "$1" = hang ] && reader='exit 1' || reader='sleep 40; cat log'
bash -c "$reader" &
make -v >log
echo built
