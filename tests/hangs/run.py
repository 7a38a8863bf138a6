#!/usr/bin/env python3
"""Runs hang scenarios and compares the diagnosis of a built tracer-user with what each scenario expects.

    run.py TRACER_USER [-d SCENARIO_DIR] [--record DIR] [NAME ...]

A scenario is a Python file in the scenario directory. It sets up one situation, usually a hang, creates the file
named by $READY and stays. Its processes have a word `role=NAME` in their arguments, by which the expectation names
them. Its EXPECT, a literal dict, is what a correct diagnosis contains:

    verdict    the verdict, or a list of acceptable ones
    class      the class of one finding, or a list of acceptable ones          (absent: not checked)
    waiter     the role of a process with role "waiter" in that same finding   (absent: not checked)
    holder     the role of a process with role "holder" in that same finding   (absent: not checked)
    test       the test id of that finding's waiter or holder                  (absent: not checked)
    settle     seconds to wait after READY before the diagnosis                (default 1.5)
    known_gap  why the tool is known not to give this diagnosis yet            (absent: it has to)

Prints a line for each scenario: `ok`, `gap` when a known gap is still there, or `FAIL`. A known gap that is gone
fails too: its `known_gap` has to be removed. Then prints 'N passed, N known gaps, N failed'. The exit status is 1
when one failed.

With --record the evidence behind each diagnosis is kept as DIR/NAME.json.
"""
import argparse, ast, json, os, pathlib, signal, subprocess, sys, tempfile, time

HERE = pathlib.Path(__file__).resolve().parent


class Broken(Exception):
    """The scenario or the tool did not work, so there is no diagnosis to compare."""


def literal(path, name):
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", None) == name:
            return ast.literal_eval(node.value)
    raise SystemExit(f"{path}: no {name}")


def as_list(v):
    return v if isinstance(v, list) else [v]


def role_of(process):
    return next((word[5:] for word in process.get("cmdline", []) if word.startswith("role=")), "?")


def mismatch(expect, diagnosis):
    """None when the diagnosis contains what EXPECT names, else one line about the difference."""
    if diagnosis.get("verdict") not in as_list(expect["verdict"]):
        findings = [(f.get("class"), f.get("verdict")) for f in diagnosis.get("findings", [])]
        return f"verdict {diagnosis.get('verdict')!r}, expected {expect['verdict']!r}; findings {findings}"
    if "class" not in expect:
        return None
    why = []
    for finding in diagnosis.get("findings", []):
        if finding.get("class") not in as_list(expect["class"]):
            why.append(f"class {finding.get('class')}")
            continue
        roles = {}
        for process in finding.get("processes", []):
            roles.setdefault(process.get("role"), set()).add(role_of(process))
        wrong = [
            f"{part} is {sorted(roles.get(part, []))}, expected {expect[part]}"
            for part in ("waiter", "holder")
            if part in expect and not set(as_list(expect[part])) & roles.get(part, set())
        ]
        if "test" in expect and not any(expect["test"] in str(p.get("test")) for p in finding.get("processes", [])):
            wrong.append(f"no process attributed to test {expect['test']}")
        if not wrong:
            return None
        why += wrong
    return "; ".join(why) or "no findings"


def judge(expect, why):
    """The outcome of a comparison, and a text about it."""
    gap = expect.get("known_gap")
    if gap is None:
        return ("ok", "") if why is None else ("FAIL", why)
    if why is None:
        return "FAIL", f"the known gap is closed, remove `known_gap`: {gap}"
    return "gap", f"{gap} ({why})"


def processes(mark):
    """Pidfds of the processes that have this assignment in their environment."""
    for entry in pathlib.Path("/proc").iterdir():
        try:
            if not entry.name.isdigit() or mark not in (entry / "environ").read_bytes():
                continue
            process = os.pidfd_open(int(entry.name))
            # The number may have changed hands before the pidfd was opened.
            if mark in (entry / "environ").read_bytes():
                yield process
            os.close(process)
        except OSError:
            continue


def end(ready):
    """Kills the processes of the scenario, stopped and orphaned ones too, until there are no more of them."""
    mark = b"READY=" + ready.encode() + b"\0"
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        killed = 0
        for process in processes(mark):
            signal.pidfd_send_signal(process, signal.SIGKILL)
            killed += 1
        if not killed:
            return


def diagnose(tracer, path, expect, record):
    """The diagnosis of a scenario, which is ended afterwards. Its evidence is written into the folder `record`, if any."""
    with tempfile.TemporaryDirectory() as work:
        ready, printed = (os.path.join(work, name) for name in ("ready", "out"))
        with open(printed, "w") as out:
            root = subprocess.Popen(
                [sys.executable, str(path), "role=root"], cwd=work, start_new_session=True,
                env={**os.environ, "READY": ready, "PYTHONDONTWRITEBYTECODE": "1"},
                stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT,
            )
        try:
            deadline = time.monotonic() + 120  # emulated machines start programs slowly
            while not os.path.exists(ready):
                if time.monotonic() > deadline or root.poll() is not None:
                    raise Broken("the scenario did not become ready: " + pathlib.Path(printed).read_text()[-300:])
                time.sleep(0.05)
            time.sleep(expect.get("settle", 1.5))
            try:
                report = os.path.join(work, "report")
                keep = ["--format", "evidence", "--report", f"json={report}"] if record else ["--format", "json"]
                answer = subprocess.run(
                    [tracer, "diagnose", "--pid", str(root.pid), *keep],
                    capture_output=True, text=True, timeout=60, stdin=subprocess.DEVNULL,
                )
            except subprocess.TimeoutExpired:
                raise Broken("diagnose gave no answer in 60 s")
            try:
                if record:
                    (record / f"{path.stem}.json").write_text(answer.stdout)
                    return json.loads(pathlib.Path(report).read_text())
                return json.loads(answer.stdout)
            except FileNotFoundError:
                raise Broken(f"exit {answer.returncode}, no report; stderr: {answer.stderr.strip()[-200:]}")
            except json.JSONDecodeError:
                raise Broken(f"exit {answer.returncode}, no JSON on stdout; stderr: {answer.stderr.strip()[-200:]}")
        finally:
            end(ready)
            root.wait()


def run(tracer, path, record):
    expect = literal(path, "EXPECT")
    try:
        return judge(expect, mismatch(expect, diagnose(tracer, path, expect, record)))
    except Broken as error:
        return "FAIL", str(error)


def main():
    args = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    args.add_argument("tracer")
    args.add_argument("-d", "--dir", type=pathlib.Path, default=HERE / "scenarios")
    args.add_argument("--record", type=pathlib.Path)
    args.add_argument("names", nargs="*")
    args = args.parse_intermixed_args()
    paths = [path for path in sorted(args.dir.resolve().glob("*.py")) if not args.names or path.stem in args.names]
    unknown = set(args.names) - {path.stem for path in paths}
    if unknown:
        sys.exit(f"no such scenario: {', '.join(sorted(unknown))}")
    if args.record:
        args.record.mkdir(parents=True, exist_ok=True)
    outcomes = []
    for path in paths:
        outcome, text = run(os.path.abspath(args.tracer), path, args.record)
        outcomes.append(outcome)
        print(f"{outcome:<4} {path.stem}{': ' + text if text else ''}", flush=True)
    count = outcomes.count
    print(f"{count('ok')} passed, {count('gap')} known gaps, {count('FAIL')} failed")
    sys.exit(bool(count("FAIL")))


if __name__ == "__main__":
    main()
