//! What is left and what is not, on made-up machines.

use super::*;
use crate::core::identity::ProcessId;

fn proc(tgid: u32, ppid: u32) -> Proc {
    Proc {
        id: ProcessId { tgid, start_ticks: u64::from(tgid) },
        ppid,
        uid: Some(1000),
        comm: ByteString::from("python3"),
        cmdline: vec!["python3".into(), "server.py".into(), "--marker=app".into()],
        cwd: Some("/elsewhere".into()),
        exe: Some("/usr/bin/python3".into()),
        zombie: false,
        reaper: tgid == 1,
    }
}

fn in_repo(mut it: Proc) -> Proc {
    it.cwd = Some("/srv/repo/tests".into());
    it
}

fn scene(processes: Vec<Proc>) -> Scene {
    Scene {
        boot_ns: 1_000_000_000_000,
        processes: std::iter::once(proc(1, 0)).chain(processes).collect(),
        checkout: Some(Checkout { dir: "/srv/repo".into(), uid: 1000 }),
        ..Scene::default()
    }
}

fn tie(scene: &mut Scene, tgid: u32, running: bool) {
    let id = ProcessId { tgid, start_ticks: u64::from(tgid) };
    let tie = Tie { session: "s1".into(), running, proof: "the kernel recorded it".into() };
    scene.ties.insert(id, tie);
}

fn left(scene: &Scene) -> Vec<u32> {
    let report = judge(scene, &Asked::default());
    let left = report.findings.iter().filter(|it| it.status == Status::Left);
    left.flat_map(|it| it.processes.iter().map(|p| p.pid)).collect()
}

#[test]
fn what_a_finished_session_left_is_left_with_its_children() {
    let mut scene = scene(vec![proc(10, 1), proc(11, 10), proc(12, 1)]);
    tie(&mut scene, 10, false);
    assert_eq!(left(&scene), [10, 11]);
}

#[test]
fn a_running_session_is_spared_with_all_it_started() {
    let mut scene = scene(vec![in_repo(proc(10, 1)), in_repo(proc(11, 10)), in_repo(proc(12, 1))]);
    tie(&mut scene, 10, true);
    assert_eq!(left(&scene), [12]);
}

#[test]
fn an_orphan_of_the_checkout_is_left_and_its_look_alike_elsewhere_is_not() {
    let mut other = proc(11, 1);
    other.cwd = Some("/srv/repo-2/tests".into());
    let mut of_another_user = in_repo(proc(12, 1));
    of_another_user.uid = Some(1001);
    assert_eq!(left(&scene(vec![in_repo(proc(10, 1)), other, of_another_user])), [10]);
}

#[test]
fn a_process_whose_starter_lives_is_not_left() {
    let mut shell = proc(10, 1);
    shell.comm = "bash".into();
    assert!(left(&scene(vec![shell, in_repo(proc(11, 10))])).is_empty());
}

#[test]
fn whoever_started_us_is_never_left() {
    let mut scene = scene(vec![in_repo(proc(10, 1)), in_repo(proc(11, 10))]);
    scene.us = [10, 11].into();
    assert!(left(&scene).is_empty());
}

#[test]
fn an_argument_under_the_checkout_ties() {
    let mut by_value = proc(10, 1);
    by_value.cmdline = vec!["server".into(), "--config=/srv/repo/x.toml".into()];
    let mut near_miss = proc(11, 1);
    near_miss.cmdline = vec!["server".into(), "/srv/repository/x.toml".into()];
    assert_eq!(left(&scene(vec![by_value, near_miss])), [10]);
}

fn listener(port: u16, holder: u32) -> Listener {
    Listener {
        protocol: "tcp",
        address: format!("127.0.0.1:{port}"),
        port: Some(port),
        path: None,
        namespace: None,
        asked: false,
        holders: vec![ProcessId { tgid: holder, start_ticks: u64::from(holder) }],
    }
}

fn only_listener(scene: &Scene, ports: &[u16]) -> Option<(Status, String, Option<String>)> {
    let report = judge(scene, &Asked { ports: ports.to_vec(), ..Asked::default() });
    let found = report.findings.into_iter().find(|it| it.kind == Kind::Listener)?;
    Some((found.status, found.sentence, found.command))
}

#[test]
fn a_strangers_port_is_named_only_when_asked_and_never_reaped() {
    let mut scene = scene(vec![proc(10, 1)]);
    scene.listeners.push(listener(8080, 10));
    assert_eq!(only_listener(&scene, &[]), None);
    let (status, sentence, command) = only_listener(&scene, &[8080]).expect("named");
    assert_eq!((status, command), (Status::InUse, None));
    assert!(sentence.contains("also uses port 8080") && sentence.contains("not yours"), "{sentence}");
}

#[test]
fn a_port_of_a_finished_session_is_left_with_the_command_that_frees_it() {
    let mut scene = scene(vec![proc(10, 1)]);
    tie(&mut scene, 10, false);
    scene.listeners.push(listener(8080, 10));
    let (status, sentence, command) = only_listener(&scene, &[]).expect("named");
    assert_eq!(status, Status::Left);
    assert!(sentence.contains("left of session s1"), "{sentence}");
    assert_eq!(command.as_deref(), Some("tracer-user reap --session s1 --yes"));
}

#[test]
fn a_port_whose_holder_cannot_be_seen_is_in_use() {
    let mut scene = scene(vec![]);
    scene.listeners.push(listener(8080, 99));
    assert_eq!(only_listener(&scene, &[8080]).expect("named").0, Status::InUse);
}

#[test]
fn files_are_left_only_when_proved_stale_and_ours() {
    let mut scene = scene(vec![]);
    let file = |path: &str, state, ours: Option<&str>| File {
        path: path.into(),
        kind: FileKind::SharedMemory,
        state,
        ours: ours.map(str::to_owned),
        session: None,
    };
    scene.files = vec![
        file("/dev/shm/a", FileState::Stale("nobody maps it".into()), Some("made in session s1")),
        file("/dev/shm/b", FileState::Stale("nobody maps it".into()), None),
        file("/dev/shm/c", FileState::Unknown("pid 7 cannot be looked into".into()), Some("x")),
    ];
    let report = judge(&scene, &Asked::default());
    let statuses: Vec<_> = report.findings.iter().map(|it| it.status).collect();
    assert_eq!(statuses, [Status::Left, Status::Unknown, Status::Note]);
    assert!(!report.clean);
    let asked = Asked { baseline: ["file /dev/shm/a".to_owned()].into(), ..Asked::default() };
    assert!(judge(&scene, &asked).clean);
}

#[test]
fn a_zombie_of_ours_is_noted_with_its_parent() {
    let mut dead = proc(12, 11);
    dead.zombie = true;
    let mut shell = proc(10, 1);
    shell.comm = "bash".into();
    let report = judge(&scene(vec![shell, in_repo(proc(11, 10)), dead]), &Asked::default());
    assert_eq!(
        report.findings.iter().map(|it| (it.kind, it.status)).collect::<Vec<_>>(),
        [(Kind::Zombie, Status::Note)]
    );
    assert!(report.clean);
}
