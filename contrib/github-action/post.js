// Ends the watcher and publishes what it found, whatever the job's outcome is.
const fs = require('node:fs');
const path = require('node:path');
const { spawnSync } = require('node:child_process');

const LIMIT_MS = 5000;

const { STATE_pid: pid, STATE_directory: directory } = process.env;

function alive() {
  try {
    process.kill(-Number(pid), 0);
    return true;
  } catch (error) {
    return error.code === 'EPERM';
  }
}

// The watcher leads its own process group, and may run as root.
function signal(name) {
  try {
    process.kill(-Number(pid), name);
  } catch (error) {
    if (error.code === 'EPERM') spawnSync('sudo', ['--non-interactive', 'kill', `-${name}`, '--', `-${pid}`]);
  }
}

async function main() {
  if (!pid) return;
  if (alive()) {
    signal('SIGINT');
    for (const end = Date.now() + LIMIT_MS; alive() && Date.now() < end; ) {
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
    if (alive()) signal('SIGKILL');
  }
  const report = path.join(directory, 'hang.md');
  if (!fs.existsSync(report)) {
    console.log('tracer-user: nothing hung');
    return;
  }
  const text = fs.readFileSync(report, 'utf8');
  console.log(text);
  if (process.env.GITHUB_STEP_SUMMARY) fs.appendFileSync(process.env.GITHUB_STEP_SUMMARY, text);
  console.log('::error title=A step hung::tracer-user explains it in the summary of this job');
}

main();
