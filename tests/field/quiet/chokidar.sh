# chokidar waits for changes until it is ended
# needs: node node:chokidar-cli
touch a
node "$NODE_MODULES/chokidar-cli/index.js" a >/dev/null & w=$!
sleep @REST@
kill $w; wait $w; true
