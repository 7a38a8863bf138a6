//! What runs in a guest: the rows of the table, and the tests of each.

/// How much runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extent {
    /// Tests that depend on the kernel: every row with a [`Case::core`].
    Core,
    /// All tests.
    Long,
    /// One core test of each row that is [`Case::quick`], for every run of all checks.
    Quick,
}

/// A row of the table.
#[derive(Debug)]
pub struct Case {
    /// Its name in the table.
    pub name: &'static str,
    /// `program::module`: a module of a test program.
    pub suite: &'static str,
    /// Its tests; empty: all tests of the suite.
    pub tests: &'static [&'static str],
    /// The tests of a usual run. None: it leaves the row out.
    pub core: &'static [&'static str],
    /// Whether it runs with every run of all checks. The guest has no Python then.
    pub quick: bool,
}

/// All rows. Tests that do not depend on the kernel (files, words, formats) run where they are built.
pub const CASES: &[Case] = &[
    Case {
        name: "loads and attaches; `doctor`",
        suite: "cli::doctor",
        tests: &[],
        core: &["the_report_describes_this_machine", "what_was_tried_is_removed"],
        quick: true,
    },
    Case {
        name: "loads without a warning of the kernel",
        suite: "kernel::load",
        tests: &[],
        core: &["the_kernel_warns_of_no_program"],
        quick: true,
    },
    Case {
        name: "offsets as the table has them",
        suite: "kernel::offsets",
        tests: &[],
        core: &["offsets_are_those_of_the_table", "offsets_are_those_of_another_reader"],
        quick: false,
    },
    Case {
        name: "fields as the kernel shows them",
        suite: "kernel::layout",
        tests: &[],
        core: &[
            "facts_of_a_pipe_are_what_its_owner_knows",
            "facts_of_processes_are_what_proc_shows",
            "the_peer_of_a_unix_socket_is_what_its_owner_knows",
            "the_sender_of_a_signal_is_identified",
        ],
        quick: false,
    },
    Case {
        name: "every end as `waitpid` reports it",
        suite: "kernel::exit",
        tests: &[],
        core: &[
            "every_end_is_recorded_as_waitpid_reports_it",
            "an_end_that_the_kernel_missed_is_recorded_when_the_parent_is_notified_or_the_task_is_freed",
        ],
        quick: true,
    },
    Case {
        name: "blocked writes: pipe, FIFO, socket, pty",
        suite: "kernel::stall",
        tests: &[],
        core: &["a_blocked_write_is_reported_when_it_begins_and_when_it_ends"],
        quick: true,
    },
    Case {
        name: "system calls counted during a window",
        suite: "kernel::window",
        tests: &[],
        core: &[
            "a_lock_that_is_polled_is_counted_with_its_error",
            "reads_are_counted_by_thread_with_the_bytes_they_returned",
            "a_sleeping_process_is_counted_when_it_wakes_and_an_unwatched_one_never",
            "no_call_of_many_threads_is_missed",
            "what_does_not_fit_is_counted_as_such",
            "four_errors_are_counted_the_most_frequent_first",
            "nothing_is_left_in_the_kernel_after_the_end_or_the_death_of_the_counting_process",
        ],
        quick: true,
    },
    Case {
        name: "membership over double forks",
        suite: "kernel::runs",
        tests: &[
            "a_session_has_all_descendants_of_its_job_and_no_other_process",
            "an_inner_session_is_part_of_the_outer_one_and_not_the_reverse",
        ],
        core: &["a_session_has_all_descendants_of_its_job_and_no_other_process"],
        quick: false,
    },
    Case {
        name: "many sessions, storms of processes",
        suite: "kernel::runs",
        tests: &[
            "many_sessions_at_once_see_their_own_processes_and_share_one_hook",
            "a_refused_command_leaves_nothing_behind",
            "a_storm_of_short_processes_is_recorded_to_the_last_one",
            "a_storm_under_run_is_in_the_log_to_the_last_process",
        ],
        core: &[],
        quick: false,
    },
    Case {
        name: "a killed tracer: the kernel goes on recording",
        suite: "kernel::runs",
        tests: &["the_kernel_goes_on_recording_after_its_tracer_is_killed"],
        core: &["the_kernel_goes_on_recording_after_its_tracer_is_killed"],
        quick: false,
    },
    Case {
        name: "recovery from pins, adoption",
        suite: "recover::kernel",
        tests: &[],
        core: &[
            "a_job_that_still_runs_is_left_alone_or_taken_over_without_a_gap",
            "a_job_that_ended_without_a_tracer_is_in_the_log_with_its_status_and_time",
        ],
        quick: true,
    },
    Case {
        name: "core of the hang corpus",
        suite: "hangs::corpus",
        tests: &["the_core_is_explained"],
        core: &["the_core_is_explained"],
        quick: false,
    },
    Case { name: "without kernel events", suite: "cli::no_kernel", tests: &[], core: &[], quick: false },
    Case { name: "jobs run as they would alone", suite: "cli::job", tests: &[], core: &[], quick: false },
    Case { name: "terminals and job control", suite: "cli::terminal", tests: &[], core: &[], quick: false },
    Case { name: "signals by pidfd", suite: "cli::escalation", tests: &[], core: &[], quick: false },
];

impl Case {
    /// The tests of a run. None means all of the suite's.
    pub fn tests(&self, extent: Extent) -> &'static [&'static str] {
        match extent {
            Extent::Long => self.tests,
            Extent::Core => self.core,
            Extent::Quick => self.core.get(..1).unwrap_or_default(),
        }
    }

    /// Whether a test (`program::module::name`) belongs to this row.
    pub fn has(&self, test: &str) -> bool {
        let Some(name) = test.strip_prefix(self.suite).and_then(|rest| rest.strip_prefix("::")) else {
            return false;
        };
        // The end of a suite is a result of each of its rows.
        self.tests.is_empty() || self.tests.contains(&name) || name == super::protocol::ENDED
    }

    /// Whether `--only` with these arguments, programs or suites, keeps the row.
    pub fn is_among(&self, only: &[String]) -> bool {
        let (program, _) = self.suite.split_once("::").unwrap_or((self.suite, ""));
        only.is_empty() || only.iter().any(|word| word == program || word == self.suite)
    }
}

/// The rows of a run.
pub fn of(extent: Extent) -> Vec<&'static Case> {
    let wanted = |case: &&Case| match extent {
        Extent::Long => true,
        Extent::Core => !case.core.is_empty(),
        Extent::Quick => case.quick,
    };
    CASES.iter().filter(wanted).collect()
}

/// Suites, each with its tests. None means all.
pub type Suites = Vec<(&'static str, Vec<&'static str>)>;

/// The suites of a run in their order, and the tests to run of each. None means all.
pub fn suites(cases: &[&'static Case], extent: Extent) -> Suites {
    let mut suites = Suites::new();
    for case in cases {
        match suites.iter_mut().find(|(suite, _)| *suite == case.suite) {
            Some((_, tests)) => tests.extend(case.tests(extent)),
            None => suites.push((case.suite, case.tests(extent).to_vec())),
        }
    }
    suites
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every named test exists: with an unknown name the program would run nothing and succeed.
    #[test]
    fn every_named_test_is_there() {
        for case in CASES {
            let file = crate::workspace::root().join(format!("tests/{}.rs", case.suite.replace("::", "/")));
            let source = std::fs::read_to_string(&file).expect("the suite's source");
            for test in case.tests.iter().chain(case.core) {
                assert!(source.contains(&format!("#[test]\nfn {test}()")), "{}: no test {test}", case.suite);
                assert!(case.has(&format!("{}::{test}", case.suite)));
            }
        }
    }

    #[test]
    fn rows_of_one_suite_are_run_together() {
        let suites = suites(&of(Extent::Quick), Extent::Quick);
        assert!(suites.iter().all(|(_, tests)| tests.len() == 1), "{suites:?}");
        let core = super::suites(&of(Extent::Core), Extent::Core);
        let runs = core.iter().find(|(suite, _)| *suite == "kernel::runs").expect("there");
        assert_eq!(runs.1.len(), 2);
        assert!(suites.iter().all(|(suite, _)| *suite != "cli::job"), "a quick run leaves it out");
    }

    #[test]
    fn rows_are_chosen_by_program_and_by_suite() {
        let chosen = |word: &str| CASES.iter().filter(|case| case.is_among(&[word.to_owned()])).count();
        assert!(chosen("kernel") > chosen("kernel::runs") && chosen("kernel::runs") == 3);
        assert_eq!(chosen("kern"), 0);
        assert!(CASES.iter().all(|case| case.is_among(&[])));
    }
}
