#!/bin/bash
# A test starts a server in the background, which keeps the test's output; ctest waits for its end. healthy: the test is slow.
cd "$(mktemp -d)" || exit
[ "$1" = hang ] && test='sleep 3000 & echo started' || test='sleep 40'
cat >CTestTestfile.cmake <<C
add_test(starts_a_server bash -c "$test")
C
ctest --timeout 3600
