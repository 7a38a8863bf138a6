//! JUnit XML: a hang as a failed case, for test dashboards.

use quick_junit::{NonSuccessKind, Property, Report, SerializeError, TestCase, TestCaseStatus, TestSuite};

use super::{TextStyle, escape, tests_of, text};
use crate::core::diagnosis::{Diagnosis, Finding, Verdict};

/// The report: a suite with a case for each finding, a passed one when nothing hangs.
pub fn junit(diagnosis: &Diagnosis) -> Result<String, SerializeError> {
    let mut suite = TestSuite::new("hang");
    suite.add_property(Property::new("verdict", diagnosis.verdict.id()));
    suite.add_property(Property::new("taken_at", escape::terminal(&diagnosis.taken_at)));
    let listed: Vec<&Finding> = diagnosis.findings.iter().filter(|f| f.verdict > Verdict::Idle).collect();
    for finding in &listed {
        suite.add_test_case(case(finding));
    }
    if listed.is_empty() {
        suite.add_test_case(TestCase::new(diagnosis.verdict.id(), TestCaseStatus::success()));
    }
    suite.set_system_out(text(diagnosis, TextStyle::default()));
    let mut report = Report::new("tracer-user");
    report.add_test_suite(suite);
    report.to_string()
}

fn case(finding: &Finding) -> TestCase {
    let mut status = if finding.verdict.is_hang() {
        TestCaseStatus::non_success(NonSuccessKind::Failure)
    } else {
        // The next step is up to a party outside: it is shown, and is not a failure of this job.
        TestCaseStatus::skipped()
    };
    status.set_type(finding.class.id());
    status.set_message(escape::terminal(&finding.summary));
    let details: Vec<String> = finding
        .notes
        .iter()
        .chain(&finding.advice)
        .chain(&finding.go_on)
        .map(|l| escape::terminal(l))
        .collect();
    status.set_description(details.join("\n"));
    let name =
        tests_of(finding).first().map_or_else(|| finding.class.id().to_owned(), |t| escape::terminal(t));
    let mut case = TestCase::new(name, status);
    case.set_classname(format!("hang.{}", finding.class.id()));
    case
}
