# jest with two workers and slow tests
# needs: node node:jest
ln -s "$NODE_MODULES" node_modules; echo '{}' >package.json
for n in a b; do echo "test('$n', () => new Promise(r => setTimeout(r, @REST@000)), 30000)" >$n.test.js; done
node node_modules/jest/bin/jest.js --rootDir . --watchman=false -w 2 >/dev/null 2>&1
