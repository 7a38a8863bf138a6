# node --test with a slow test
# needs: node
echo "require('node:test')('a', () => new Promise(r => setTimeout(r, @REST@000)))" >a.test.js
node --test a.test.js >/dev/null
