//! JUnit XML for test dashboards: a hang is a failed case.
//!
//! Jenkins, GitLab and others read different parts. GitLab keeps the text of `<failure>` and drops its
//! attributes (`Hash.from_xml`), so the text begins with the sentence. A verdict that is no hang never fails
//! a build: what is unknown or up to another machine is skipped with the reason, a job at rest passes.

use quick_junit::{NonSuccessKind, Property, Report, SerializeError, TestCase, TestCaseStatus, TestSuite};

use super::{TextStyle, escape, headline, tests_of, text, waits};
use crate::core::diagnosis::{Diagnosis, Finding, Verdict};

/// Lines of the wait tree in a failure.
const TREE_LINES: usize = 12;

/// The report: a suite with a case for each finding; without any, one case that says what the job does.
pub fn junit(diagnosis: &Diagnosis) -> Result<String, SerializeError> {
    let mut suite = TestSuite::new("hang");
    suite.add_property(Property::new("verdict", diagnosis.verdict.id()));
    suite.add_property(Property::new("taken_at", escape::terminal(&diagnosis.taken_at)));
    let listed: Vec<&Finding> = diagnosis.findings.iter().filter(|f| f.verdict > Verdict::Idle).collect();
    for finding in &listed {
        suite.add_test_case(case(finding, diagnosis));
    }
    if listed.is_empty() {
        suite.add_test_case(without_finding(diagnosis));
    }
    suite.set_system_out(text(diagnosis, TextStyle::default()));
    let mut report = Report::new("tracer-user");
    report.add_test_suite(suite);
    report.to_string()
}

fn without_finding(diagnosis: &Diagnosis) -> TestCase {
    let sentence = escape::terminal(&headline(diagnosis));
    let mut status = match diagnosis.verdict {
        Verdict::NotHung | Verdict::Idle => TestCaseStatus::success(),
        _ => TestCaseStatus::skipped(),
    };
    status.set_message(sentence.clone());
    let mut case = TestCase::new(diagnosis.verdict.id(), status);
    case.set_classname("hang");
    case.set_system_out(sentence);
    case
}

fn case(finding: &Finding, diagnosis: &Diagnosis) -> TestCase {
    let mut status = match finding.verdict.is_hang() {
        true => TestCaseStatus::non_success(NonSuccessKind::Failure),
        // The next step is up to another party, or it is not known: to be seen, and no failure of this job.
        false => TestCaseStatus::skipped(),
    };
    status.set_type(finding.class.id());
    status.set_message(escape::terminal(&finding.summary));
    status.set_description(description(finding, diagnosis));
    let name =
        tests_of(finding).first().map_or_else(|| finding.class.id().to_owned(), |t| escape::terminal(t));
    let class = format!("hang.{}", finding.class.id());
    let mut case = match runner_names(&name) {
        Some(names) => {
            let mut case = TestCase::new(names.name, status);
            case.set_classname(names.classname);
            case.extra.insert("file".into(), names.file.into());
            case.add_property(Property::new("class", class));
            case
        }
        None => {
            let mut case = TestCase::new(name, status);
            case.set_classname(class);
            case
        }
    };
    if let Some(ms) = finding.blocked_ms {
        case.set_time(std::time::Duration::from_millis(ms));
    }
    case
}

/// What a reader who sees nothing else needs: the sentence, the chain, the cure.
fn description(finding: &Finding, diagnosis: &Diagnosis) -> String {
    let mut lines = vec![finding.summary.clone(), String::new()];
    let mut section = |name: &str, some: Vec<String>| {
        if !some.is_empty() {
            lines.push(format!("{name}:"));
            lines.extend(some.into_iter().map(|line| format!("  {line}")));
        }
    };
    section("who waits for what", waits::lines(&diagnosis.waits, TREE_LINES));
    section("to cure it", finding.advice.clone());
    section("to let this run continue", finding.go_on.clone());
    section("note", finding.notes.clone());
    lines.iter().map(|line| escape::terminal(line)).collect::<Vec<_>>().join("\n")
}

/// A test as its runner reports it.
struct RunnerNames {
    classname: String,
    name: String,
    file: String,
}

/// The names that pytest itself reports for `tests/test_pipe.py::TestPipe::test_big[a]`, so that dashboards
/// join the two: `tests.test_pipe.TestPipe`, `test_big[a]` and the file.
fn runner_names(test: &str) -> Option<RunnerNames> {
    // A parameter may hold anything.
    let (path, parameters) = test.split_at(test.find('[').unwrap_or(test.len()));
    let mut parts: Vec<&str> = path.split("::").collect();
    let name = parts.pop()?;
    let (file, classes) = parts.split_first()?;
    let module = file.strip_suffix(".py")?.replace('/', ".");
    let classname =
        std::iter::once(module.as_str()).chain(classes.iter().copied()).collect::<Vec<_>>().join(".");
    Some(RunnerNames { classname, name: format!("{name}{parameters}"), file: (*file).to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_test_has_the_names_that_its_runner_gives_it() {
        let names = runner_names("tests/test_pipe.py::TestPipe::test_big[a::b]").unwrap();
        assert_eq!(
            (names.classname.as_str(), names.name.as_str(), names.file.as_str()),
            ("tests.test_pipe.TestPipe", "test_big[a::b]", "tests/test_pipe.py")
        );
        assert!(runner_names("TestDeadlock/sub").is_none());
        assert!(runner_names("crate::module::test").is_none());
    }
}
