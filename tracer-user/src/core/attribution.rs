//! The test that a process belongs to, from what test runners leave in environments and command lines.
//!
//! Runners identify it in two forms: they set a variable that every process started during the test inherits
//! (pytest, nextest, bats, Bazel), or they name the test on the command line of a process per test (nextest,
//! libtest's `--exact`). A runner changes its own environment while it runs, and `/proc/PID/environ` does not
//! show that. So a runner belongs to the test that its children carry, where these agree.

use std::collections::BTreeMap;

use super::evidence::{ByteString, Evidence, Process};

/// The environment variables that evidence holds, and no others: those that the attribution reads, and those
/// that a report shows of the test runner, the CI system and make's jobserver.
pub const GATHERED: &[&str] = &[
    "BATS_TEST_DESCRIPTION",
    "BATS_TEST_NAME",
    "CARGO_BIN_NAME",
    "CARGO_CRATE_NAME",
    "CARGO_PKG_NAME",
    "CI",
    "GITHUB_ACTIONS",
    "GITHUB_JOB",
    "GITHUB_WORKFLOW",
    "GO_TEST_TIMEOUT_SCALE",
    "JEST_WORKER_ID",
    "MAKEFLAGS",
    "MAKELEVEL",
    "MESON_TEST_ITERATION",
    "NEXTEST",
    "NEXTEST_ATTEMPT_ID",
    "NEXTEST_BINARY_ID",
    "NEXTEST_EXECUTION_MODE",
    "NEXTEST_RUN_ID",
    "NEXTEST_TEST_NAME",
    "NODE_TEST_CONTEXT",
    "PYTEST_CURRENT_TEST",
    "PYTEST_VERSION",
    "PYTEST_XDIST_TESTRUNUID",
    "PYTEST_XDIST_WORKER",
    "TEST_TARGET",
    "TRACER_SESSION",
    "VITEST_POOL_ID",
    "VITEST_WORKER_ID",
];

/// The test of each process that has one, by position in the evidence.
pub fn tests(evidence: &Evidence) -> BTreeMap<usize, String> {
    let by_tgid: BTreeMap<u32, usize> =
        evidence.processes.iter().enumerate().map(|(at, p)| (p.id.tgid, at)).collect();
    let parent = |at: usize| by_tgid.get(&evidence.processes[at].ppid).copied().filter(|p| *p != at);
    let own: Vec<Option<String>> = evidence
        .processes
        .iter()
        .enumerate()
        .map(|(at, process)| own_test(process, parent(at).map(|p| &evidence.processes[p])))
        .collect();
    let mut out: BTreeMap<usize, String> = BTreeMap::new();
    for at in 0..own.len() {
        // Its own test, else that of its nearest ancestor.
        let mut next = Some(at);
        for _ in 0..own.len() {
            let Some(here) = next else { break };
            if let Some(test) = &own[here] {
                out.insert(at, test.clone());
                break;
            }
            next = parent(here);
        }
    }
    for at in 0..own.len() {
        // A runner: the test of its children, when they agree.
        if out.contains_key(&at) || !is_runner(&evidence.processes[at]) {
            continue;
        }
        let mut of_children =
            (0..own.len()).filter(|c| parent(*c) == Some(at)).filter_map(|c| own[c].as_ref());
        if let Some(first) = of_children.next()
            && of_children.all(|other| other == first)
        {
            out.insert(at, first.clone());
        }
    }
    out
}

fn variable<'p>(process: &'p Process, name: &str) -> Option<&'p ByteString> {
    process.env.as_ref().and_then(|env| env.get(name)).filter(|value| !value.as_bytes().is_empty())
}

/// The test that the process itself carries.
fn own_test(process: &Process, parent: Option<&Process>) -> Option<String> {
    let variable = |name: &str| variable(process, name);
    if let Some(current) = variable("PYTEST_CURRENT_TEST") {
        let test = pytest_id(&current.printable());
        return Some(match variable("PYTEST_XDIST_WORKER") {
            Some(worker) => format!("{test} [{}]", worker.printable()),
            None => test,
        });
    }
    if let Some(name) = variable("NEXTEST_TEST_NAME") {
        return Some(qualified(variable("NEXTEST_BINARY_ID"), name.printable()));
    }
    if let Some(name) = exact_argument(process) {
        let package = variable("NEXTEST_BINARY_ID").or_else(|| variable("CARGO_PKG_NAME"));
        return Some(qualified(package, name));
    }
    if let Some(test) = variable("BATS_TEST_DESCRIPTION").or_else(|| variable("BATS_TEST_NAME")) {
        return Some(test.printable());
    }
    if let Some(target) = variable("TEST_TARGET") {
        return Some(target.printable());
    }
    // These show that a test runs, but not which one: the process that the runner started names it, and its
    // descendants inherit the variable.
    let started_by_runner = |name: &str| {
        variable(name).is_some() && parent.is_none_or(|parent| self::variable(parent, name).is_none())
    };
    if started_by_runner("NODE_TEST_CONTEXT") {
        let file = process.cmdline.as_deref()?.iter().skip(1).find(|a| !a.as_bytes().starts_with(b"-"))?;
        return Some(file.printable());
    }
    if started_by_runner("MESON_TEST_ITERATION") {
        return Some(process.cmdline.as_deref()?.first()?.printable());
    }
    for name in ["VITEST_POOL_ID", "VITEST_WORKER_ID"] {
        if started_by_runner(name) {
            return Some(format!("vitest worker {}", variable(name)?.printable()));
        }
    }
    None
}

fn qualified(binary: Option<&ByteString>, test: String) -> String {
    match binary {
        Some(binary) => format!("{} {test}", binary.printable()),
        None => test,
    }
}

/// `tests/test_x.py::test_a[1] (call)` without the phase.
fn pytest_id(current: &str) -> String {
    for phase in [" (setup)", " (call)", " (teardown)"] {
        if let Some(id) = current.strip_suffix(phase) {
            return id.to_owned();
        }
    }
    current.to_owned()
}

/// libtest's `TEST --exact`, in either order, as nextest starts each test.
fn exact_argument(process: &Process) -> Option<String> {
    let argv = process.cmdline.as_deref()?;
    argv.iter().position(|a| a.as_bytes() == b"--exact")?;
    let test = argv.iter().skip(1).find(|a| !a.as_bytes().starts_with(b"-"))?;
    Some(test.printable())
}

/// Processes whose own environment cannot show the current test.
pub fn is_runner(process: &Process) -> bool {
    let Some(argv) = process.cmdline.as_deref() else { return false };
    argv.iter().take(4).any(|word| {
        let bytes = word.as_bytes();
        let tail = bytes.rsplit(|b| *b == b'/').next().unwrap_or(bytes);
        matches!(tail, b"pytest" | b"py.test" | b"pytest.py" | b"bats" | b"execnet" | b"unittest")
            || bytes.windows(7).any(|w| w == b"execnet")
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::identity::ProcessId;

    fn process(tgid: u32, ppid: u32, argv: &[&str], env: &[(&str, &str)]) -> Process {
        let mut process = Process::new(ProcessId { tgid, start_ticks: 1 });
        process.ppid = ppid;
        process.cmdline = Some(argv.iter().map(|a| ByteString::from(*a)).collect());
        process.env = Some(env.iter().map(|(k, v)| ((*k).to_owned(), ByteString::from(*v))).collect());
        process
    }

    fn attributed(processes: Vec<Process>) -> Vec<Option<String>> {
        let evidence = Evidence { processes, ..Evidence::default() };
        let tests = tests(&evidence);
        (0..evidence.processes.len()).map(|at| tests.get(&at).cloned()).collect()
    }

    #[test]
    fn pytest_s_test_reaches_grandchildren_and_the_runner() {
        let env =
            [("PYTEST_CURRENT_TEST", "tests/test_a.py::test_b[x y] (call)"), ("PYTEST_XDIST_WORKER", "gw1")];
        let said = attributed(vec![
            process(10, 1, &["python3", "-m", "pytest"], &[]),
            process(11, 10, &["sh"], &env),
            process(12, 11, &["cat"], &[]),
            process(13, 1, &["sleep"], &[]),
        ]);
        let test = Some("tests/test_a.py::test_b[x y] [gw1]".to_owned());
        assert_eq!(said, [test.clone(), test.clone(), test, None]);
    }

    #[test]
    fn children_of_two_tests_leave_the_runner_unattributed() {
        let said = attributed(vec![
            process(10, 1, &["pytest"], &[]),
            process(11, 10, &["a"], &[("PYTEST_CURRENT_TEST", "a.py::x (setup)")]),
            process(12, 10, &["b"], &[("PYTEST_CURRENT_TEST", "b.py::y (teardown)")]),
        ]);
        assert_eq!(said, [None, Some("a.py::x".to_owned()), Some("b.py::y".to_owned())]);
    }

    #[test]
    fn nextest_s_process_per_test_is_named_by_its_command_line() {
        let said = attributed(vec![process(
            10,
            1,
            &["/t/deps/store-1a2b", "--exact", "recover::tests::twice", "--nocapture"],
            &[("NEXTEST_BINARY_ID", "store::bin/store"), ("CARGO_PKG_NAME", "store")],
        )]);
        assert_eq!(said, [Some("store::bin/store recover::tests::twice".to_owned())]);
    }
}
