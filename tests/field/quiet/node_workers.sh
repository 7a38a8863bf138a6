# worker_threads at rest
# needs: node
node -e '
const { Worker } = require("worker_threads");
const w = [1, 2].map(() => new Worker("require(\"worker_threads\").parentPort.once(\"message\", () => process.exit(0))", { eval: true }));
setTimeout(() => w.forEach((x) => x.postMessage(1)), @REST@000);'
