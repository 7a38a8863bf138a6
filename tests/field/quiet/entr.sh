# entr runs its command again when a file changes, then its job ends
# needs: entr
echo 1 >f
(sleep @REST@; echo 2 >f) &
echo f | entr -npzs 'true' >/dev/null
