# gpg-agent at rest beside a slow step
# needs: gpg gpg-agent gpgconf
mkdir -m 700 g; export GNUPGHOME=$PWD/g
gpg --batch --quiet --passphrase '' --quick-gen-key a@example.org default default never 2>/dev/null
sleep @REST@
gpgconf --kill all
