# bats with a slow test
# needs: bats
printf '@test "a" {\n  sleep @REST@\n}\n' >a.bats
bats --tap a.bats >/dev/null
