//! The results of the guests, as a table: case × kernel.

use std::collections::BTreeMap;

use super::cases::Case;
use super::protocol::{BEGIN, END, ENDED};
use super::qemu::Death;

/// The result of one test in one guest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// `ok`
    Passed,
    /// `FAILED`, or the test program died.
    Failed,
}

/// Results by the name of the test, `program::module::test`.
pub type Results = BTreeMap<String, Verdict>;

/// Parses a console. A suite that failed without a failed test counts as one failed test.
pub fn read(console: &str) -> Results {
    let mut results = Results::new();
    let mut suite = "";
    for line in console.lines() {
        if let Some(name) = line.strip_prefix(BEGIN) {
            suite = name;
            // Removed when its end is seen.
            results.insert(format!("{suite}::{ENDED}"), Verdict::Failed);
        } else if let Some(end) = line.strip_prefix(END) {
            let failed = results.iter().any(|(name, verdict)| {
                name.starts_with(&format!("{suite}::"))
                    && !name.ends_with(ENDED)
                    && *verdict == Verdict::Failed
            });
            if end.strip_prefix(suite).is_some_and(|how| how == " 0" || how.starts_with(" 0 ")) || failed {
                results.remove(&format!("{suite}::{ENDED}"));
            }
        } else if let Some((name, verdict)) = test_line(line) {
            // A program prints test names without its own name.
            let (program, _) = suite.split_once("::").unwrap_or((suite, ""));
            results.insert(format!("{program}::{name}"), verdict);
        }
    }
    results
}

/// Parses `test some::name ... ok`. Output of the test's children may stand between the dots and the result.
fn test_line(line: &str) -> Option<(&str, Verdict)> {
    let (name, rest) = line.strip_prefix("test ")?.split_once(" ... ")?;
    let name = name.trim_end_matches(" - should panic");
    match rest.trim() {
        ended if ended.ends_with("ok") => Some((name, Verdict::Passed)),
        ended if ended.ends_with("FAILED") => Some((name, Verdict::Failed)),
        _ => None,
    }
}

/// The column of one guest.
pub struct Column {
    /// `6.12`
    pub series: String,
    /// `6.12.117+deb13-cloud-amd64`; `None` if a suite lists the series but no kernel of it could be fetched.
    pub release: Option<String>,
    /// Run time of the guest in seconds.
    pub seconds: u64,
    /// Why results are missing; `None` if the guest finished.
    pub died: Option<Death>,
    /// Results of its tests.
    pub results: Results,
}

impl Column {
    /// The column of a kernel that is unavailable.
    pub fn missing(series: &str) -> Self {
        Self { series: series.into(), release: None, seconds: 0, died: None, results: Results::new() }
    }

    /// The cell of a case: the number of tests that passed or failed, or `-` when none ran.
    pub fn cell(&self, case: &Case) -> String {
        let ran: Vec<Verdict> =
            self.results.iter().filter(|(name, _)| case.has(name)).map(|(_, verdict)| *verdict).collect();
        let failed = ran.iter().filter(|verdict| **verdict == Verdict::Failed).count();
        match (ran.len(), failed) {
            (0, _) => "-".into(),
            (all, 0) => format!("{all} ok"),
            (all, failed) => format!("{failed} of {all} failed"),
        }
    }

    /// Names of the tests that failed.
    pub fn failures(&self) -> Vec<&str> {
        let failed = self.results.iter().filter(|(_, verdict)| **verdict == Verdict::Failed);
        failed.map(|(name, _)| name.as_str()).collect()
    }

    /// Whether all tests passed, or there was no kernel to run them on.
    pub fn all_well(&self) -> bool {
        self.release.is_none()
            || self.died.is_none() && !self.results.is_empty() && self.failures().is_empty()
    }

    /// Whether the guest was ended for being slow, and all tests until then passed.
    pub fn only_late(&self) -> bool {
        let ended = |name: &&str| name.ends_with(ENDED);
        matches!(self.died, Some(Death::Late(_))) && self.failures().iter().all(ended)
    }
}

/// The table in Markdown, one row per case.
pub fn markdown(cases: &[&Case], columns: &[Column]) -> String {
    let row = |cells: Vec<String>| format!("| {} |\n", cells.join(" | "));
    let of_columns = |first: &str, cell: &dyn Fn(&Column) -> String| {
        row(std::iter::once(first.to_string()).chain(columns.iter().map(cell)).collect())
    };
    let mut table = of_columns("case", &|column| column.series.clone());
    table += &format!("|{}\n", "---|".repeat(columns.len() + 1));
    for case in cases {
        table += &of_columns(case.name, &|column| column.cell(case));
    }
    table += &of_columns("whole guest", &|column| match &column.died {
        Some(why) => why.to_string(),
        None if column.release.is_none() => "unavailable".into(),
        None => format!("{} s", column.seconds),
    });
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONSOLE: &str = "booting\n@@ begin exits\nrunning 2 tests\ntest a::one ... ok\ntest two ... noise FAILED\n@@ end exits 101 at 3.1 s\n\
                           @@ begin pins\ntest one ... ok\n@@ end pins 0 at 4.5 s\n@@ begin gone\ntest one ... ok\n";

    fn column() -> Column {
        let results = read(CONSOLE);
        Column { series: "6.1".into(), release: Some("6.1.0".into()), seconds: 9, died: None, results }
    }

    #[test]
    fn a_console_gives_the_result_of_every_test() {
        let results = read(CONSOLE);
        assert_eq!(results["exits::a::one"], Verdict::Passed);
        assert_eq!(results["exits::two"], Verdict::Failed);
        assert_eq!(results.get("exits::(ended)"), None, "a failed test is enough");
        assert_eq!(results["gone::(ended)"], Verdict::Failed, "the guest died in it");
        assert_eq!(results.len(), 5);
    }

    #[test]
    fn a_program_that_dies_without_a_failed_test_is_a_failure() {
        let results = read("@@ begin x\ntest one ... ok\n@@ end x 139\n");
        assert_eq!(results["x::(ended)"], Verdict::Failed);
    }

    #[test]
    fn tests_of_a_module_are_named_by_program_and_module() {
        let results = read("@@ begin x::y\ntest y::one ... ok\n@@ end x::y 0 at 1 s\n");
        assert_eq!(results.into_iter().collect::<Vec<_>>(), [("x::y::one".to_owned(), Verdict::Passed)]);
    }

    const fn case(name: &'static str, suite: &'static str, tests: &'static [&'static str]) -> Case {
        Case { name, suite, tests, core: &[], quick: false }
    }

    #[test]
    fn cells_count() {
        let cases = [
            case("exits", "exits", &[]),
            case("half", "exits", &["a::one"]),
            case("pins", "pins", &[]),
            case("part", "gone", &["another"]),
            case("none", "no_ne", &[]),
        ];
        let table = markdown(&cases.iter().collect::<Vec<_>>(), &[column()]);
        assert_eq!(
            table,
            "| case | 6.1 |\n|---|---|\n| exits | 1 of 2 failed |\n| half | 1 ok |\n| pins | 1 ok |\n\
             | part | 1 of 1 failed |\n| none | - |\n| whole guest | 9 s |\n"
        );
        assert!(!column().all_well());
    }

    #[test]
    fn slowness_is_not_a_failed_test() {
        let results = read("@@ begin x\ntest one ... ok\n");
        let mut late = Column { died: Some(Death::Late(9)), results, ..column() };
        assert!(late.only_late() && !late.all_well());
        late.died = Some(Death::Sudden);
        assert!(!late.only_late(), "a kernel that dies is a failure");
        let failed = Column { died: Some(Death::Late(9)), ..column() };
        assert!(!failed.only_late());
    }
}
