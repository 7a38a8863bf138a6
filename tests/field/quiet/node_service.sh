# a node service with a listener waits for SIGTERM
# needs: node
node -e 'const s = require("http").createServer().listen(0, "127.0.0.1", () => require("fs").writeFileSync("ready", "")); process.on("SIGTERM", () => s.close())' & service=$!
until [ -e ready ]; do sleep 0.1; done
sleep @REST@; kill $service; wait $service
