# sshd at rest and a quiet remote command
# needs: sshd ssh ssh-keygen root
mkdir -p /run/sshd; chmod 700 .
ssh-keygen -q -t ed25519 -N '' -f host; ssh-keygen -q -t ed25519 -N '' -f key; cp key.pub authorized
printf 'Port %s\nListenAddress 127.0.0.1\nHostKey %s/host\nAuthorizedKeysFile %s/authorized\nPidFile none\nPermitRootLogin yes\nStrictModes no\nUsePAM no\n' "$PORT" "$PWD" "$PWD" >c
"$(command -v sshd)" -D -e -f c 2>/dev/null & server=$!
sleep 1
ssh -F /dev/null -i key -p "$PORT" -o BatchMode=yes -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o LogLevel=ERROR root@127.0.0.1 'sleep @REST@; echo ok' >/dev/null
kill $server; wait $server; true
