# an agent beside a slow step
# needs: ssh-agent ssh-add
eval "$(ssh-agent -a "$PWD/s")" >/dev/null
sleep @REST@; ssh-add -l >/dev/null 2>&1
ssh-agent -k >/dev/null; true
