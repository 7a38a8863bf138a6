# node waits for a slow child, whose output it reads
# needs: node
node -e 'const c = require("child_process").spawn("bash", ["-c", "sleep @REST@; seq 100000"]); let n = 0; c.stdout.on("data", (d) => n += d.length); c.on("close", () => process.exit(n > 0 ? 0 : 1))'
