//! However a process ends, the kernel's event and the kernel's record agree with `waitpid`.

use std::collections::HashMap;
use std::process::Command;

use crate::support::PATIENCE;
use crate::support::child::TestChild;
use crate::support::helper::{self, HELPER};
use crate::support::proc::start_ticks;
use crate::traced::{NO_STALLS, Traced};
use tracer_user::core::event::{Event, EventBody, Exit};
use tracer_user::core::identity::{ProcessId, WaitStatus};

/// The end of a process, as its parent learnt it.
struct Truth {
    row: String,
    process: ProcessId,
    status: WaitStatus,
    more: HashMap<String, String>,
}

impl Truth {
    fn of(line: &str) -> Option<Self> {
        let words: Vec<&str> = line.split('\t').collect();
        let ["end", row, pid, ticks, status, more] = words[..] else { return None };
        let pair = |word: &str| word.split_once('=').map(|(name, value)| (name.to_owned(), value.to_owned()));
        Some(Self {
            row: row.to_owned(),
            process: ProcessId { tgid: pid.parse().unwrap(), start_ticks: ticks.parse().unwrap() },
            status: WaitStatus(status.parse().unwrap()),
            more: more.split_whitespace().filter_map(pair).collect(),
        })
    }

    fn more(&self, name: &str) -> Option<&str> {
        self.more.get(name).map(String::as_str)
    }
}

#[test]
fn every_end_is_recorded_as_waitpid_reports_it() {
    every_end(false);
}

#[test]
fn an_end_that_the_kernel_missed_is_recorded_when_the_parent_is_notified_or_the_task_is_freed() {
    every_end(true);
}

/// `missed`: by the programs that serve as a fallback when that of the exit itself was not run.
fn every_end(missed: bool) {
    let directory = tempfile::tempdir().expect("a directory for core files");
    let mut command = Command::new(HELPER);
    command.args(["--held", "exits"]).current_dir(directory.path());
    let mut child = TestChild::with_pipes(command);
    let root = child.process();
    let Some(mut traced) = Traced::start_missing(NO_STALLS, missed) else { return };
    traced.enroll(root);
    child.go();
    let mut truths = Vec::new();
    while let Some(line) = child.line_within(PATIENCE) {
        traced.collect();
        if let Some(rest) = line.strip_prefix("zombie\t") {
            let (pid, ticks) = rest.split_once('\t').unwrap();
            let zombie = ProcessId { tgid: pid.parse().unwrap(), start_ticks: ticks.parse().unwrap() };
            let exit = traced.until_exit(zombie);
            assert_eq!(exit.status, Some(WaitStatus(51 << 8)), "at its death, not when it is reaped");
            assert_eq!(start_ticks(zombie.tgid), Some(zombie.start_ticks), "it still exists");
            child.send_line("seen");
        } else if let Some(truth) = Truth::of(&line) {
            truths.push(truth);
        } else {
            println!("{line}");
        }
    }
    let status = child.wait();
    assert!(status.success(), "the job itself: {status}");
    let last = traced.until_exit(root);
    assert_eq!(last.status, Some(WaitStatus(0)));

    let fates: HashMap<ProcessId, Exit> =
        traced.tracer().fates().into_iter().filter_map(|fate| Some((fate.process, fate.ended?.1))).collect();
    println!("{:<48} {:>8} {:>8} {:>8}  also", "how it ended", "waitpid", "event", "fate map");
    let mut wrong = Vec::new();
    for truth in &truths {
        let events: Vec<&Exit> = traced.exits().filter(|exit| exit.process == truth.process).collect();
        let event = events.first().and_then(|exit| exit.status);
        let fate = fates.get(&truth.process).and_then(|exit| exit.status);
        let text =
            |status: Option<WaitStatus>| status.map_or("-".to_owned(), |status| format!("{:#06x}", status.0));
        let also: Vec<String> = truth.more.iter().map(|(name, value)| format!("{name}={value}")).collect();
        println!(
            "{:<48} {:>8} {:>8} {:>8}  {}",
            truth.row,
            text(Some(truth.status)),
            text(event),
            text(fate),
            also.join(" ")
        );
        if events.len() != 1 || event != Some(truth.status) || fate != Some(truth.status) {
            wrong.push(format!("{}: {} exits, {event:?}, {fate:?}", truth.row, events.len()));
            let events = events_of(&mut traced, truth.process);
            wrong.extend(events);
        } else if let Err(why) = facts(&traced, truth, events[0]) {
            wrong.push(format!("{}: {why}; {:?}", truth.row, events[0]));
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
    assert!(truths.len() > 130, "{} rows", truths.len());
    // No parent is notified of a process that ends with the init of its namespace.
    assert!(!missed || traced.exits().any(|exit| exit.seen_late));
    let mut ended: Vec<ProcessId> = traced.exits().map(|exit| exit.process).collect();
    let count = ended.len();
    ended.sort();
    ended.dedup();
    assert_eq!(ended.len(), count, "a process ends once");
    assert_eq!(count, traced.forks().count() + 1, "every forked process, and the root, has ended");
    assert_eq!(traced.tracer().living(), []);
    traced.finish();
}

/// All events of a process that has this pid, and what was lost.
fn events_of(traced: &mut Traced, process: ProcessId) -> impl Iterator<Item = String> {
    let concerns = |event: &&Event| match &event.body {
        EventBody::Fork(fork) => fork.child.tgid == process.tgid || fork.parent.tgid == process.tgid,
        EventBody::Exit(exit) => exit.process.tgid == process.tgid,
        _ => false,
    };
    let events: Vec<String> =
        traced.events.iter().filter(concerns).map(|event| format!("  {process:?}: {event:?}")).collect();
    events.into_iter().chain([format!("  lost: {:?}", traced.tracer().lost())])
}

/// Checks what else is known of an end.
fn facts(traced: &Traced, truth: &Truth, exit: &Exit) -> Result<(), String> {
    let check = |what: &str, found: String, wanted: &str| match found == wanted {
        true => Ok(()),
        false => Err(format!("{what} {found}, not {wanted}")),
    };
    let none = || "none".to_owned();
    if let Some(killer) = truth.more("killer") {
        check("killer", exit.killer.as_ref().map_or_else(none, |killer| killer.tgid.to_string()), killer)?;
    }
    if let Some(signal) = exit.killer.as_ref().map(|killer| killer.signal) {
        check("the killer's signal", signal.to_string(), &truth.status.signal().unwrap_or(0).to_string())?;
    }
    if let Some(reaper) = truth.more("reaper").filter(|_| !exit.seen_late) {
        check("reaper", exit.reaper_tgid.map_or_else(none, |reaper| reaper.to_string()), reaper)?;
    }
    check(
        "out of memory",
        u8::from(exit.oom_victim == Some(true)).to_string(),
        truth.more("oom").unwrap_or("0"),
    )?;
    let fork = traced.forks().find(|fork| fork.child == truth.process).ok_or("no fork was recorded")?;
    if exit.parent != Some(fork.parent) {
        return Err(format!("made by {:?}, not {:?}", exit.parent, fork.parent));
    }
    if let Some(parent) = truth.more("parent") {
        check("maker", fork.parent.tgid.to_string(), parent)?;
    }
    if let Some(inner) = truth.more("inner") {
        check("inner number", fork.extras.ns_pid.map_or_else(none, |number| number.to_string()), inner)?;
    }
    let execs: Vec<_> = traced.execs().filter(|exec| exec.process == truth.process).collect();
    if let Some(count) = truth.more("execs") {
        check("execs", execs.len().to_string(), count)?;
    }
    if truth.more("by").is_some() {
        match execs[0].by_thread {
            Some(thread) if thread != truth.process.tgid => {}
            other => return Err(format!("exec by thread {other:?}")),
        }
    }
    if truth.more("namespace").is_some() {
        namespace(traced, truth.process, fork.extras.pidns_ino)?;
    }
    Ok(())
}

/// Checks the processes inside a pid namespace, for whose ends no process outside can wait.
fn namespace(traced: &Traced, init: ProcessId, pidns: Option<u64>) -> Result<(), String> {
    let own =
        std::fs::metadata("/proc/self/ns/pid").map(|found| std::os::unix::fs::MetadataExt::ino(&found)).ok();
    if pidns.is_none() || pidns == own {
        return Err(format!("namespace {pidns:?} is the test's own ({own:?})"));
    }
    let within: Vec<_> = traced.forks().filter(|fork| fork.parent == init).collect();
    let [first, second] = within[..] else { return Err(format!("{} processes within", within.len())) };
    for (fork, number, status) in [(first, 2, 12 << 8), (second, 3, libc::SIGKILL as u32)] {
        if fork.extras.ns_pid != Some(number) || fork.extras.pidns_ino != pidns {
            return Err(format!("number {number} in it: {:?}", fork.extras));
        }
        let exits: Vec<_> = traced.exits().filter(|exit| exit.process == fork.child).collect();
        let [exit] = exits[..] else { return Err(format!("{} ends of number {number}", exits.len())) };
        if exit.status != Some(WaitStatus(status)) || exit.killer.is_some() {
            return Err(format!("end of number {number}: {exit:?}"));
        }
        if exit.reaper_tgid != Some(init.tgid) && !exit.seen_late {
            return Err(format!(
                "number {number} leaves its children to {:?}, not {}",
                exit.reaper_tgid, init.tgid
            ));
        }
    }
    Ok(())
}

#[test]
fn exits_of_processes_outside_the_session_are_not_recorded() {
    let Some(mut traced) = Traced::start(NO_STALLS) else { return };
    let mut outsider = helper::held("ends_with", &["4"]);
    let mut member = helper::held("ends_with", &["9"]);
    let (outside, known) = (outsider.process(), member.process());
    traced.enroll(known);
    outsider.go();
    assert_eq!(outsider.wait().code(), Some(4));
    member.go();
    assert_eq!(member.wait().code(), Some(9));
    assert_eq!(traced.until_exit(known).status, Some(WaitStatus(9 << 8)));
    // Its exec may be recorded: the standard library does not wait for the last step of it.
    let bodies = traced.events.iter().map(|event| &event.body);
    let others: Vec<&EventBody> = bodies
        .filter(|body| match body {
            EventBody::Exec(exec) => exec.process != known,
            EventBody::Exit(exit) => exit.process != known,
            _ => true,
        })
        .collect();
    assert!(others.is_empty(), "{others:?}");
    assert!(traced.tracer().fates().iter().all(|fate| fate.process != outside));
    traced.finish();
}
