// Starts the watcher beside the job. The steps are children of the process that started this one.
const { spawn } = require('node:child_process');
const fs = require('node:fs');
const path = require('node:path');

const input = (name) => process.env[`INPUT_${name.toUpperCase()}`] || '';

function main() {
  const directory = path.resolve(input('report-dir') || path.join(process.env.RUNNER_TEMP || '.', 'tracer-user'));
  fs.mkdirSync(directory, { recursive: true });
  const log = fs.openSync(path.join(directory, 'watcher.log'), 'a');
  const [program, ...first] = input('command').split(' ');
  const reports = ['markdown=hang.md', 'html=hang.html', 'json=hang.json'].flatMap((it) => ['--report', it]);
  const words = ['attach', '--quiet', '--hang-after', input('hang-after'), ...reports, String(process.ppid)];
  // The runner ends what carries its marker when a job is over; the watcher ends in the post step.
  const environment = { ...process.env, RUNNER_TRACKING_ID: '' };
  const watcher = spawn(program, [...first, ...words], {
    cwd: directory, detached: true, stdio: ['ignore', log, log], env: environment,
  });
  watcher.on('error', (error) => {
    console.log(`::warning::tracer-user does not watch this job: ${program}: ${error.message}`);
  });
  watcher.on('spawn', () => {
    fs.appendFileSync(process.env.GITHUB_STATE, `pid=${watcher.pid}\ndirectory=${directory}\n`);
    fs.appendFileSync(process.env.GITHUB_OUTPUT, `report-dir=${directory}\n`);
    watcher.unref();
  });
}

main();
