//! Sessions as users run them: which processes belong to one, many at once, one within another, one whose
//! tracer was killed. None of them leaves anything behind.

use std::collections::BTreeSet;

use crate::sandbox::{Filed, TracerSandbox};
use crate::support::child::{TestChild, output};
use crate::support::{PATIENCE, helper};
use crate::traced::{NO_STALLS, Traced};
use tracer_user::core::event::EventBody;

type Process = (u32, u64);

/// The role and the process of a helper's line about itself.
fn member(line: &str) -> Option<(String, Process)> {
    let rest = line.strip_prefix("member ")?;
    let mut words = rest.rsplitn(3, ' ');
    let ticks = words.next()?.parse().ok()?;
    let pid = words.next()?.parse().ok()?;
    Some((words.next()?.to_owned(), (pid, ticks)))
}

fn members(lines: &[String]) -> Vec<(String, Process)> {
    lines.iter().filter_map(|line| member(line)).collect()
}

/// Checks that a session has this many processes, each forked once and ended once, and that nothing was lost.
#[track_caller]
fn is_whole(session: &Filed, of: usize) {
    let (forked, ended) = (session.processes("fork"), session.processes("exit"));
    let set = |list: &[Process]| list.iter().copied().collect::<BTreeSet<_>>();
    assert_eq!(forked.len(), of, "{:#?}", session.events);
    assert_eq!(set(&forked).len(), of, "forked once");
    assert_eq!((ended.len(), set(&ended)), (of, set(&forked)), "each that was forked ended, once");
    let summary = &session.summary;
    assert_eq!(summary["events_lost"], 0, "{summary}");
    assert_eq!(summary["processes"]["forked"], of, "{summary}");
    assert_eq!(summary["processes"]["exited"], of, "{summary}");
    assert_eq!(summary["processes"]["leaked"], serde_json::json!([]), "{summary}");
    assert_eq!(summary["kernel_events"], true, "{summary}");
}

#[test]
fn a_session_has_all_descendants_of_its_job_and_no_other_process() {
    let Some(sandbox) = TracerSandbox::open() else { return };
    let mut child = TestChild::with_pipes(sandbox.run("tree", "tree", &[]));
    let lines = child.lines();
    assert!(child.wait().success());
    let reported = members(&lines);
    let roles: BTreeSet<&str> = reported.iter().map(|(role, _)| role.as_str()).collect();
    for role in
        ["root", "middle", "orphan", "below the orphan", "threaded", "of a thread", "after exec", "spawned"]
    {
        assert!(roles.contains(role), "{role} in {lines:?}");
    }
    let session = sandbox.filed("tree");
    let truth: BTreeSet<Process> = reported.iter().map(|(_, process)| *process).collect();
    assert_eq!(truth.len(), 19, "{lines:?}");
    assert_eq!(session.processes("fork").into_iter().collect::<BTreeSet<_>>(), truth);
    is_whole(&session, truth.len());
    sandbox.is_clean("a run");
}

#[test]
fn an_inner_session_is_part_of_the_outer_one_and_not_the_reverse() {
    let Some(sandbox) = TracerSandbox::open() else { return };
    let inner = sandbox.run_words("inner", "tree", &[]);
    let inner: Vec<&str> = inner.iter().map(String::as_str).collect();
    let mut child = TestChild::with_pipes(sandbox.run("outer", "nest", &inner));
    let lines = child.lines();
    assert!(child.wait().success());
    assert!(lines.contains(&"inner 0".to_owned()), "{lines:?}");
    let (outer, inner) = (sandbox.filed("outer"), sandbox.filed("inner"));
    let outside = ["outer root", "outer only"];
    let (without, within): (Vec<_>, Vec<_>) =
        members(&lines).into_iter().partition(|(role, _)| outside.contains(&role.as_str()));
    let within: BTreeSet<Process> = within.into_iter().map(|(_, process)| process).collect();
    assert_eq!(inner.processes("fork").into_iter().collect::<BTreeSet<_>>(), within);
    is_whole(&inner, within.len());
    let all: BTreeSet<Process> = outer.processes("fork").into_iter().collect();
    assert!(all.is_superset(&within), "{lines:?}");
    assert!(without.iter().all(|(_, process)| all.contains(process)), "{lines:?}");
    // One more: the inner tracer.
    is_whole(&outer, within.len() + without.len() + 1);
    sandbox.is_clean("a run within a run");
}

#[test]
fn many_sessions_at_once_see_their_own_processes_and_share_one_hook() {
    const COUNT: usize = 12;
    let Some(sandbox) = TracerSandbox::open() else { return };
    let start = |number: usize| TestChild::with_pipes(sandbox.run(&format!("s{number}"), "waits", &[]));
    let mut children: Vec<TestChild> = (0..COUNT).map(start).collect();
    let jobs: Vec<Process> = children.iter_mut().map(|child| member(&child.line()).unwrap().1).collect();
    let pins = sandbox.pins();
    let (hooks, sessions): (Vec<_>, Vec<_>) = pins.iter().partition(|name| name.starts_with("hook-"));
    assert_eq!(hooks.len(), 1, "{pins:?}");
    assert_eq!(sessions.len(), COUNT, "{pins:?}");
    for child in &mut children {
        child.send_line("end");
    }
    for (number, (child, job)) in children.iter_mut().zip(&jobs).enumerate() {
        assert_eq!(child.wait().code(), Some(3));
        let session = sandbox.filed(&format!("s{number}"));
        assert_eq!(session.processes("fork"), [*job]);
        is_whole(&session, 1);
    }
    sandbox.is_clean("many runs");
}

#[test]
fn a_refused_command_leaves_nothing_behind() {
    let Some(sandbox) = TracerSandbox::open() else { return };
    let at = |name: &str| sandbox.directory().join(name).to_str().unwrap().to_owned();
    let (log, live) = (at("log"), at("live"));
    std::os::unix::fs::symlink(&live, at("link")).unwrap();
    std::fs::write(at("plain"), "no program").unwrap();
    let run = |words: &[&str]| -> Vec<String> {
        ["run", "--quiet", "--log-dir", &log].iter().chain(words).map(|word| (*word).to_owned()).collect()
    };
    let attach = |pid: &str| -> Vec<String> {
        ["attach", "--quiet", "--log-dir", &log, "--trace-dir", &live, pid].map(str::to_owned).to_vec()
    };
    let plain = at("plain");
    let missing = i32::MAX.to_string();
    for (words, code) in [
        (run(&["--trace-dir", &live, "--", "/no/such/program"]), 127),
        (run(&["--trace-dir", &live, "--", &plain]), 126),
        (run(&["--trace-dir", &live, "--"]), 125),
        (run(&["--trace-dir", &live]), 125),
        (run(&["--trace-dir", &live, "--stall-threshold", "soon", "--", "true"]), 125),
        (run(&["--trace-dir", &live, "--trace-max-bytes", "lots", "--", "true"]), 125),
        (run(&["--trace-dir", &live, "--session-id", "../up", "--", "true"]), 125),
        (run(&["--require-tracing", "--trace-dir", &plain, "--", "true"]), 125),
        (run(&["--require-tracing", "--trace-dir", &format!("{plain}/below"), "--", "true"]), 125),
        (run(&["--require-tracing", "--trace-dir", &at("link"), "--", "/no/such/program"]), 125),
        (attach(&missing), 125),
        // A kernel thread on every machine.
        (attach("2"), 125),
    ] {
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let output = output(&mut sandbox.tracer(&words));
        let stderr = String::from_utf8_lossy(&output.stderr);
        println!("{:?} {words:?}\n    {}", output.status.code(), stderr.trim_end());
        let expected = if words[0] == "attach" { vec![Some(125), Some(2)] } else { vec![Some(code)] };
        assert!(expected.contains(&output.status.code()), "{words:?}: {} {stderr}", output.status);
        assert_eq!(stderr.lines().count(), 1, "{words:?}: {stderr}");
        sandbox.is_clean(&format!("{words:?}"));
    }
}

#[test]
fn the_kernel_goes_on_recording_after_its_tracer_is_killed() {
    let Some(sandbox) = TracerSandbox::open() else { return };
    let mut child = TestChild::with_pipes(sandbox.run("killed", "outlives", &[]));
    let (_, (pid, ticks)) = member(&child.line()).unwrap();
    child.track(pid as i32);
    child.kill();
    child.send_line("go on");
    let late = member(&child.line()).expect("the job goes on").1;
    assert!(child.tracked_ends_within(0, PATIENCE), "it ends by itself");
    let pins = sandbox.pins();
    let sessions: Vec<_> = pins.iter().filter(|name| !name.starts_with("hook-")).collect();
    let [session] = sessions[..] else { panic!("one session in {pins:?}") };
    let root = format!("{pid}-{ticks}");

    let mut successor = TestChild::with_pipes(sandbox.inside(helper::command("takes_over", &[session])));
    let recorded = successor.lines();
    assert!(successor.wait().success());
    let late = format!("{}-{}", late.0, late.1);
    for line in [
        format!("event {late} {}", 5 << 8),
        format!("event {root} {}", 7 << 8),
        format!("fate {late} {}", 5 << 8),
        format!("fate {root} {}", 7 << 8),
        "lost 0".to_owned(),
    ] {
        assert!(recorded.contains(&line), "{line} in {recorded:?}");
    }
    assert_eq!(recorded.last().map(String::as_str), Some("end"));
    assert_eq!(sandbox.pins(), BTreeSet::new());
}

/// How many processes a storm makes: `TRACER_STORM`, or enough to keep two processors busy for a while.
fn storm() -> u64 {
    std::env::var("TRACER_STORM").map_or(10_000, |count| count.parse().expect("TRACER_STORM is a number"))
}

/// How many ended with 0, 1, 2 and 3, as the processes that waited for them report.
fn storm_truth(lines: &[String]) -> [u64; 4] {
    let mut codes = [0; 4];
    for line in lines.iter().filter_map(|line| line.strip_prefix("storm ")) {
        for (code, count) in codes.iter_mut().zip(line.split(' ').skip(1)) {
            *code += count.parse::<u64>().unwrap();
        }
    }
    codes
}

#[test]
fn a_storm_of_short_processes_is_recorded_to_the_last_one() {
    let count = storm();
    let mut child = helper::held("storm", &[&count.to_string()]);
    let root = child.process();
    let Some(mut traced) = Traced::of(&mut child, NO_STALLS) else { return };
    let (mut forks, mut codes, mut others) = (0, [0u64; 4], 0);
    let mut running = BTreeSet::from([root]);
    let mut ended_root = false;
    let mut events = Vec::new();
    let began = std::time::Instant::now();
    while !ended_root {
        assert!(began.elapsed() < PATIENCE * 5, "{forks} forks, {codes:?}");
        traced.tracer().drain(&mut events);
        for event in events.drain(..) {
            match event.body {
                EventBody::Fork(fork) => {
                    forks += 1;
                    assert!(running.insert(fork.child), "forked twice: {fork:?}");
                }
                EventBody::Exit(exit) => {
                    assert!(running.remove(&exit.process), "ends without a fork: {exit:?}");
                    let code = exit.status.and_then(|status| status.exit_code()).unwrap();
                    match exit.parent.is_some_and(|parent| parent != root) && exit.process != root {
                        true => codes[usize::from(code)] += 1,
                        false => others += 1,
                    }
                    ended_root |= exit.process == root;
                }
                _ => {}
            }
        }
        std::thread::yield_now();
    }
    let took = began.elapsed();
    let lines = child.lines();
    assert!(child.wait().success());
    println!(
        "{forks} forks, exits by code {codes:?} and {others} others in {took:?}; lost {:?}",
        traced.tracer().lost()
    );
    assert_eq!(codes, storm_truth(&lines));
    assert_eq!((forks, codes.iter().sum::<u64>(), others), (count + 2, count, 3));
    assert!(running.is_empty(), "{running:?}");
    assert_eq!(traced.tracer().fates(), []);
    assert_eq!(traced.tracer().living(), []);
    traced.finish();
}

#[test]
fn a_storm_under_run_is_in_the_log_to_the_last_process() {
    let Some(sandbox) = TracerSandbox::open() else { return };
    let count = storm();
    let mut child = TestChild::with_pipes(sandbox.run("storm", "storm", &[&count.to_string()]));
    let lines = child.lines();
    assert!(child.wait().success());
    let session = sandbox.filed("storm");
    let summary = &session.summary;
    println!("{} {}", summary["processes"], summary["duration_seconds"]);
    assert_eq!(storm_truth(&lines).iter().sum::<u64>(), count);
    assert_eq!(summary["events_lost"], 0, "{summary}");
    assert_eq!(summary["processes"]["forked"], count + 3, "{summary}");
    assert_eq!(summary["processes"]["exited"], count + 3, "{summary}");
    sandbox.is_clean("a storm");
}
