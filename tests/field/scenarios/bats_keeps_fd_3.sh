#!/bin/bash
# A test starts a server in the background, which inherits bats's fd 3: bats waits for the end of what comes through it. healthy: the test is slow.
cd "$(mktemp -d)" || exit
if [ "$1" = hang ]; then
    printf '@test "starts the server" {\n  sleep 3000 >/dev/null 2>&1 &\n  true\n}\n' >server.bats
else
    printf '@test "is slow" {\n  sleep 40\n}\n' >server.bats
fi
bats --tap server.bats
echo tested
