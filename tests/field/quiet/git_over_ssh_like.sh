# git clone through a slow transport
# needs: git
git init -q r; git -C r -c user.name=a -c user.email=a@example.org commit -q --allow-empty -m a
git clone -q -u 'sleep @REST@; git-upload-pack' "$PWD/r" c 2>/dev/null
