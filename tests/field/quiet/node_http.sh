# a node server with a client that is kept alive
# needs: node
node -e '
const http = require("http"), agent = new http.Agent({ keepAlive: true });
const server = http.createServer((q, a) => a.end("ok")).listen(0, "127.0.0.1", () => {
  const ask = (then) => http.get({ host: "127.0.0.1", port: server.address().port, agent }, (r) => { r.resume(); r.on("end", then); });
  ask(() => setTimeout(() => ask(() => { agent.destroy(); server.close(); }), @REST@000));
});'
