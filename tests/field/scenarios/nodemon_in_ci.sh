#!/bin/bash
# `npm test` starts nodemon: the tests have passed, and it waits for changes. healthy: the tests are slow.
cd "$(mktemp -d)" || exit
[ "$1" = hang ] && ms=500 || ms=40000
echo "setTimeout(() => console.log('passed'), $ms)" >test.js
exec node "$NODE_MODULES/nodemon/bin/nodemon.js" --exitcrash test.js
