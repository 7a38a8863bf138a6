#!/bin/bash
# Healthy: jest with two workers, tests of 12 s, and an exit.
d=$(mktemp -d); cd $d; ln -s $NODE_MODULES node_modules; echo '{}' >package.json
for n in a b c; do echo "test('$n', async () => { await new Promise(r => setTimeout(r, 12000)); }, 30000);" >$n.test.js; done
exec node node_modules/jest/bin/jest.js --rootDir . --watchman=false -w 2
