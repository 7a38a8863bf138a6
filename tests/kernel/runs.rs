//! Sessions as users have them: who belongs to one and who does not, many at once, one within another, one whose
//! tracer was killed; and that none of them leaves anything behind.

use std::collections::BTreeSet;
use std::process::Stdio;

use crate::play::{self, PATIENCE, Player};
use crate::sandbox::{Filed, TRACER, TracerSandbox};
use crate::traced::{NO_STALLS, Traced};
use tracer_user::core::event::EventBody;

type Process = (u32, u64);

/// Who said to be there: role, number, start.
fn member(line: &str) -> Option<(String, Process)> {
    let rest = line.strip_prefix("member ")?;
    let mut words = rest.rsplitn(3, ' ');
    let ticks = words.next()?.parse().ok()?;
    let pid = words.next()?.parse().ok()?;
    Some((words.next()?.to_owned(), (pid, ticks)))
}

/// Everything a player says until its end.
fn lines(player: &mut Player) -> Vec<String> {
    std::iter::from_fn(|| player.line_within(PATIENCE)).collect()
}

fn members(lines: &[String]) -> Vec<(String, Process)> {
    lines.iter().filter_map(|line| member(line)).collect()
}

/// A session knows each of these, each as born once and ended once, and nothing was lost.
#[track_caller]
fn is_whole(session: &Filed, of: usize) {
    let (born, ended) = (session.processes("fork"), session.processes("exit"));
    let set = |list: &[Process]| list.iter().copied().collect::<BTreeSet<_>>();
    assert_eq!(born.len(), of, "{:#?}", session.events);
    assert_eq!(set(&born).len(), of, "born once");
    assert_eq!((ended.len(), set(&ended)), (of, set(&born)), "who was born ended, once");
    let summary = &session.summary;
    assert_eq!(summary["events_lost"], 0, "{summary}");
    assert_eq!(summary["processes"]["forked"], of, "{summary}");
    assert_eq!(summary["processes"]["exited"], of, "{summary}");
    assert_eq!(summary["processes"]["leaked"], serde_json::json!([]), "{summary}");
    assert_eq!(summary["kernel_events"], true, "{summary}");
}

#[test]
fn a_session_has_all_that_descends_from_its_job_and_nobody_else() {
    let Some(sandbox) = TracerSandbox::open() else { return };
    let mut player = Player::start(sandbox.run("tree", "tree", &[]));
    let lines = lines(&mut player);
    assert!(player.wait().success());
    let said = members(&lines);
    let roles: BTreeSet<&str> = said.iter().map(|(role, _)| role.as_str()).collect();
    for role in
        ["root", "middle", "orphan", "below the orphan", "threaded", "of a thread", "after exec", "spawned"]
    {
        assert!(roles.contains(role), "{role} in {lines:?}");
    }
    let session = sandbox.filed("tree");
    let truth: BTreeSet<Process> = said.iter().map(|(_, process)| *process).collect();
    assert_eq!(truth.len(), 19, "{lines:?}");
    assert_eq!(session.processes("fork").into_iter().collect::<BTreeSet<_>>(), truth);
    is_whole(&session, truth.len());
    sandbox.is_clean("a run");
}

#[test]
fn a_session_within_a_session_is_part_of_it_and_not_the_other_way_round() {
    let Some(sandbox) = TracerSandbox::open() else { return };
    let directory = sandbox.directory().to_str().unwrap().to_owned();
    let mut player = Player::start(sandbox.run("outer", "nest", &[TRACER, &directory]));
    let lines = lines(&mut player);
    assert!(player.wait().success());
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
    // And the inner tracer.
    is_whole(&outer, within.len() + without.len() + 1);
    sandbox.is_clean("a run within a run");
}

#[test]
fn many_at_once_see_their_own_and_share_one_hook() {
    const COUNT: usize = 12;
    let Some(sandbox) = TracerSandbox::open() else { return };
    let mut players: Vec<Player> =
        (0..COUNT).map(|number| Player::start(sandbox.run(&format!("s{number}"), "waits", &[]))).collect();
    let jobs: Vec<Process> = players.iter_mut().map(|player| member(&player.line()).unwrap().1).collect();
    let pins = sandbox.pins();
    let (hooks, sessions): (Vec<_>, Vec<_>) = pins.iter().partition(|name| name.starts_with("hook-"));
    assert_eq!(hooks.len(), 1, "{pins:?}");
    assert_eq!(sessions.len(), COUNT, "{pins:?}");
    for player in &mut players {
        player.tell("end");
    }
    for (number, (player, job)) in players.iter_mut().zip(&jobs).enumerate() {
        assert_eq!(player.wait().code(), Some(3));
        let session = sandbox.filed(&format!("s{number}"));
        assert_eq!(session.processes("fork"), [*job]);
        is_whole(&session, 1);
    }
    sandbox.is_clean("many runs");
}

#[test]
fn what_is_refused_leaves_nothing_behind() {
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
        (run(&["--trace-dir", &plain, "--", "true"]), 125),
        (run(&["--trace-dir", &format!("{plain}/below"), "--", "true"]), 125),
        (run(&["--trace-dir", &at("link"), "--", "/no/such/program"]), 125),
        (attach(&missing), 125),
        // A kernel thread, everywhere.
        (attach("2"), 125),
    ] {
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let output = sandbox.tracer(&words).stdin(Stdio::null()).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        println!("{:?} {words:?}\n    {}", output.status.code(), said.trim_end());
        let expected = if words[0] == "attach" { vec![Some(125), Some(2)] } else { vec![Some(code)] };
        assert!(expected.contains(&output.status.code()), "{words:?}: {} {said}", output.status);
        assert_eq!(said.lines().count(), 1, "{words:?}: {said}");
        sandbox.is_clean(&format!("{words:?}"));
    }
}

#[test]
fn a_killed_tracer_harms_nobody_and_the_kernel_goes_on_recording() {
    let Some(sandbox) = TracerSandbox::open() else { return };
    let mut player = Player::start(sandbox.run("killed", "outlives", &[]));
    let (_, (pid, ticks)) = member(&player.line()).unwrap();
    let job = rustix::process::pidfd_open(
        rustix::process::Pid::from_raw(pid as i32).unwrap(),
        rustix::process::PidfdFlags::empty(),
    )
    .unwrap();
    player.kill();
    player.tell("go on");
    let late = member(&player.line()).expect("the job goes on").1;
    let mut ended = [rustix::event::PollFd::new(&job, rustix::event::PollFlags::IN)];
    let timeout = rustix::event::Timespec { tv_sec: PATIENCE.as_secs() as i64, tv_nsec: 0 };
    assert_eq!(rustix::event::poll(&mut ended, Some(&timeout)), Ok(1), "it ends by itself");
    let pins = sandbox.pins();
    let sessions: Vec<_> = pins.iter().filter(|name| !name.starts_with("hook-")).collect();
    let [session] = sessions[..] else { panic!("one session in {pins:?}") };
    let root = format!("{pid}-{ticks}");

    let mut heir = Player::start(sandbox.inside(play::command("takes_over", &[session])));
    let told = lines(&mut heir);
    assert!(heir.wait().success());
    let late = format!("{}-{}", late.0, late.1);
    for line in [
        format!("event {late} {}", 5 << 8),
        format!("event {root} {}", 7 << 8),
        format!("fate {late} {}", 5 << 8),
        format!("fate {root} {}", 7 << 8),
        "lost 0".to_owned(),
    ] {
        assert!(told.contains(&line), "{line} in {told:?}");
    }
    assert_eq!(told.last().map(String::as_str), Some("end"));
    assert_eq!(sandbox.pins(), BTreeSet::new());
}

/// How many processes a storm makes: `TRACER_STORM`, or enough for both CPUs to be busy a while.
fn storm() -> u64 {
    std::env::var("TRACER_STORM").map_or(10_000, |count| count.parse().expect("TRACER_STORM is a number"))
}

/// How many ended with 0, 1, 2 and 3, as those who waited for them say.
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
fn a_storm_of_short_processes_is_told_to_the_last() {
    let count = storm();
    let mut player = Player::held("storm", &[&count.to_string()]);
    let root = player.process();
    let Some(mut traced) = Traced::of(&mut player, NO_STALLS) else { return };
    let (mut forks, mut codes, mut others) = (0, [0u64; 4], 0);
    let mut begun = BTreeSet::from([root]);
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
                    assert!(begun.insert(fork.child), "born twice: {fork:?}");
                }
                EventBody::Exit(exit) => {
                    assert!(begun.remove(&exit.process), "ends unborn: {exit:?}");
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
    let lines = lines(&mut player);
    assert!(player.wait().success());
    println!(
        "{forks} forks, exits by code {codes:?} and {others} others in {took:?}; lost {:?}",
        traced.tracer().lost()
    );
    assert_eq!(codes, storm_truth(&lines));
    assert_eq!((forks, codes.iter().sum::<u64>(), others), (count + 2, count, 3));
    assert!(begun.is_empty(), "{begun:?}");
    assert_eq!(traced.tracer().fates(), []);
    assert_eq!(traced.tracer().living(), []);
    traced.finish();
}

#[test]
fn a_storm_under_run_is_filed_to_the_last() {
    let Some(sandbox) = TracerSandbox::open() else { return };
    let count = storm();
    let mut player = Player::start(sandbox.run("storm", "storm", &[&count.to_string()]));
    let lines = lines(&mut player);
    assert!(player.wait().success());
    let session = sandbox.filed("storm");
    let summary = &session.summary;
    println!("{} {}", summary["processes"], summary["duration_seconds"]);
    assert_eq!(storm_truth(&lines).iter().sum::<u64>(), count);
    assert_eq!(summary["events_lost"], 0, "{summary}");
    assert_eq!(summary["processes"]["forked"], count + 3, "{summary}");
    assert_eq!(summary["processes"]["exited"], count + 3, "{summary}");
    sandbox.is_clean("a storm");
}
