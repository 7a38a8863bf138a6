#!/bin/bash
# A release step signs a file: gpg-agent's pinentry asks in the job's terminal (expect's), and expect waits for the end.
# healthy: the script answers the question after a while.
export GNUPGHOME=$FIELD_WORK/gnupg; mkdir -m 700 "$GNUPGHOME"; cd "$GNUPGHOME" || exit
echo "pinentry-program $(command -v pinentry-tty)" >gpg-agent.conf
gpg --batch --quiet --passphrase secret --pinentry-mode loopback --quick-gen-key dev@example.org default default never 2>/dev/null || exit
gpgconf --kill gpg-agent
echo text >file
sign='bash -c {export GPG_TTY=$(tty); gpg --sign file; echo signed}'
if [ "$1" = hang ]; then
    expect -c "set timeout -1; log_user 0; spawn $sign; expect eof"
else
    expect -c "set timeout -1; log_user 0; spawn $sign; expect -nocase passphrase; sleep 40; send secret\r; expect eof"
fi
