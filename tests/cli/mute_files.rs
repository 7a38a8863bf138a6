//! A file system in user space that does not answer: whatever of a process lies on it, the tool says what it
//! could not read, and goes on with everything else.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::isolated::isolate;
use crate::support::child::TestChild;
use crate::support::helper;
use crate::support::mute_fs::{self, MuteFs};
use crate::support::{TRACER, is_root, skip};

/// Far longer than the tool takes, deadlines of mute reads included.
const AT_MOST: Duration = Duration::from_secs(60);

/// A mounted file system, if that is possible here.
#[track_caller]
fn mounted() -> Option<MuteFs> {
    if !is_root() {
        return None;
    }
    let mounted = MuteFs::mount();
    if mounted.is_none() {
        skip(format!("no FUSE mount: {}", mute_fs::last_error()));
    }
    mounted
}

fn tool(words: &[&str]) -> TestChild {
    let mut command = Command::new(TRACER);
    isolate(&mut command);
    command.args(words).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    TestChild::start(&mut command)
}

#[test]
fn a_system_call_with_an_argument_on_a_mute_page_does_not_stop_a_diagnosis_of_the_machine() {
    // Dropped after the file system, for whose answer it waits until then.
    let mut victim;
    let Some(mute) = mounted() else { return };
    victim = helper::held("mute_argument", &[mute.file().to_str().expect("text")]);
    victim.go();
    victim.expect("ready");
    let mut tool = tool(&["diagnose", "--all", "--format", "evidence"]);
    let began = Instant::now();
    let status = tool.wait_within(AT_MOST).unwrap_or_else(|| panic!("it waits for the mute page"));
    let took = began.elapsed();
    let (_, text) = tool.finish();
    let evidence: serde_json::Value = serde_json::from_str(&text).expect("whole evidence");
    let problems = evidence["problems"].as_array().expect("problems");
    let of_victim =
        problems.iter().find(|problem| problem["process"]["tgid"] == victim.pid().as_raw_nonzero().get());
    assert!(
        of_victim.is_some_and(|problem| problem["what"] == "memory"
            && problem["why"].as_str().is_some_and(|why| why.contains("does not answer"))),
        "{status:?} after {took:?}: {problems:?}"
    );
    assert!(evidence["processes"].as_array().is_some_and(|all| all.len() > 3), "the others are there");
}

#[test]
fn a_job_on_a_mute_file_system_keeps_its_time_limit_and_its_signals() {
    let (mut limited, mut asked);
    let Some(mute) = mounted() else { return };
    let file = mute.file();
    let script = format!("{} mute_argument {}", helper::HELPER, file.display());
    limited = tool(&["run", "--timeout", "1s", "--grace", "200ms", "--", "sh", "-c", &script]);
    assert_eq!(limited.wait_within(AT_MOST).map(|status| status.code()), Some(Some(124)));
    // Asked to end, the tool diagnoses first: with a reader of the mute file in the session.
    let script = format!("trap 'exit 9' TERM; {script} & wait");
    asked = tool(&["run", "--reap-leaked", "--grace", "200ms", "--", "sh", "-c", &script]);
    asked.expect("ready");
    asked.signal(Signal::TERM);
    assert_eq!(asked.wait_within(AT_MOST).map(|status| status.code()), Some(Some(9)));
}
