# nodemon waits for changes until it is ended
# needs: node node:nodemon
echo 'console.log(1)' >a.js
node "$NODE_MODULES/nodemon/bin/nodemon.js" -q a.js >/dev/null & w=$!
sleep @REST@
kill -INT $w; wait $w; true
