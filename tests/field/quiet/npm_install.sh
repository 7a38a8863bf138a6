# npm installs a package of this folder
# needs: node npm
mkdir a; echo '{"name": "a", "version": "1.0.0"}' >a/package.json; echo '{"name": "q", "version": "1.0.0", "dependencies": {"a": "file:a"}, "scripts": {"test": "sleep @REST@"}}' >package.json
npm install --silent --no-audit --no-fund --offline && npm test --silent
