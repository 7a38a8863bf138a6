// Reporter for jest and vitest: reports why a test file hangs, while it hangs.
//
//   jest:   jest --reporters=default --reporters=./tracer-user-reporter.cjs
//   vitest: vitest run --reporter=default --reporter=./tracer-user-reporter.cjs
//
// After TRACER_DIAGNOSE_AFTER seconds of one file (60) it runs `tracer-user diagnose` on the runner and its workers.
// The report goes to standard error. TRACER_USER_COMMAND is how to start the tool, such as `sudo -n tracer-user`.
const { spawn } = require('node:child_process');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');

const HANG = 1;

class TracerUserReporter {
  constructor() {
    this.after = Number(process.env.TRACER_DIAGNOSE_AFTER || 60) * 1000;
    this.command = (process.env.TRACER_USER_COMMAND || 'tracer-user').split(' ');
    this.running = new Map();
  }

  begin(file) {
    if (this.after > 0) this.wait(file, this.after);
  }

  wait(file, time) {
    const timer = setTimeout(() => this.diagnose(file, time), time);
    // The runner may end although a file still runs.
    timer.unref();
    this.running.set(file, timer);
  }

  end(file) {
    clearTimeout(this.running.get(file));
    this.running.delete(file);
  }

  diagnose(file, time) {
    const directory = fs.mkdtempSync(path.join(os.tmpdir(), 'tracer-user-'));
    const report = path.join(directory, 'report.txt');
    const [program, ...first] = this.command;
    const words = [...first, 'diagnose', '--pid', String(process.pid), '--report', `text=${report}`];
    const done = (status) => {
      const text = fs.existsSync(report) ? fs.readFileSync(report, 'utf8') : '';
      fs.rmSync(directory, { recursive: true, force: true });
      if (status === HANG) fs.writeSync(2, `\n${file} hangs:\n${text}\n`);
      else if (status !== null && this.running.has(file)) this.wait(file, time * 2);
    };
    const tool = spawn(program, words, { stdio: 'ignore' });
    tool.on('error', (error) => {
      fs.writeSync(2, `\n${file}: ${program} cannot be started: ${error.message}\n`);
      done(null);
    });
    tool.on('exit', done);
  }

  // jest
  onTestFileStart(test) {
    this.begin(test.path);
  }

  onTestFileResult(test) {
    this.end(test.path);
  }

  // vitest
  onTestModuleStart(module) {
    this.begin(module.moduleId);
  }

  onTestModuleEnd(module) {
    this.end(module.moduleId);
  }

  onRunComplete() {
    this.close();
  }

  onTestRunEnd() {
    this.close();
  }

  close() {
    for (const file of [...this.running.keys()]) this.end(file);
  }
}

module.exports = TracerUserReporter;
module.exports.default = TracerUserReporter;
