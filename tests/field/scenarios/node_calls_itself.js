// execSync(curl) asks the server of this very process, whose event loop is blocked until curl ends. healthy: the command is only slow.
const http = require('http');
const { execSync } = require('child_process');
const server = http.createServer((request, answer) => answer.end('ok\n')).listen(0, '127.0.0.1', () => {
  const url = `http://127.0.0.1:${server.address().port}/`;
  console.log(execSync(process.argv[2] === 'hang' ? `curl -s ${url}` : 'sleep 40; echo ok').toString());
  server.close();
});
