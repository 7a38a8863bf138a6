// spawn(): nobody consumes the tool's stdout, and node waits for its exit. healthy: the output is consumed, the tool is quiet for a while.
const { spawn } = require('child_process');
const hang = process.argv[2] === 'hang';
const tool = spawn('bash', ['-c', hang ? 'seq 1000000' : 'sleep 40; seq 1000000']);
if (!hang) tool.stdout.resume();
tool.on('exit', (code) => console.log('exit', code));
