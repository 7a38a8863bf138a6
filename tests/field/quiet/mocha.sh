# mocha with a slow test
# needs: node node:mocha
echo "it('a', function () { this.timeout(90000); return new Promise(r => setTimeout(r, @REST@000)); })" >t.js
node "$NODE_MODULES/mocha/bin/mocha.js" --exit t.js >/dev/null
