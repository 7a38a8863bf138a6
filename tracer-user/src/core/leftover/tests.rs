//! What is left and what is not, on invented machines.

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
    let tie = SessionTie { session: "s1".into(), running, proof: "the kernel recorded it".into() };
    scene.ties.insert(id, tie);
}

fn left(scene: &Scene) -> Vec<u32> {
    let report = judge(scene, &PreflightRequest::default());
    let left = report.findings.iter().filter(|it| it.status == LeftoverStatus::Left);
    left.flat_map(|it| it.processes.iter().map(|p| p.pid)).collect()
}

#[test]
fn leftovers_of_a_finished_session_include_their_children() {
    let mut scene = scene(vec![proc(10, 1), proc(11, 10), proc(12, 1)]);
    tie(&mut scene, 10, false);
    assert_eq!(left(&scene), [10, 11]);
}

#[test]
fn a_running_session_and_all_it_started_are_not_left() {
    let mut scene = scene(vec![in_repo(proc(10, 1)), in_repo(proc(11, 10)), in_repo(proc(12, 1))]);
    tie(&mut scene, 10, true);
    assert_eq!(left(&scene), [12]);
}

#[test]
fn an_orphan_of_the_checkout_is_left_and_one_of_another_directory_is_not() {
    let mut other = proc(11, 1);
    other.cwd = Some("/srv/repo-2/tests".into());
    let mut of_another_user = in_repo(proc(12, 1));
    of_another_user.uid = Some(1001);
    assert_eq!(left(&scene(vec![in_repo(proc(10, 1)), other, of_another_user])), [10]);
}

#[test]
fn a_process_whose_parent_lives_is_not_left() {
    let mut shell = proc(10, 1);
    shell.comm = "bash".into();
    assert!(left(&scene(vec![shell, in_repo(proc(11, 10))])).is_empty());
}

#[test]
fn ancestors_of_this_process_are_never_left() {
    let mut scene = scene(vec![in_repo(proc(10, 1)), in_repo(proc(11, 10))]);
    scene.own_ancestry = [10, 11].into();
    assert!(left(&scene).is_empty());
}

#[test]
fn an_argument_under_the_checkout_proves_ownership() {
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

fn only_listener(scene: &Scene, ports: &[u16]) -> Option<(LeftoverStatus, String, Option<String>)> {
    let report = judge(scene, &PreflightRequest { ports: ports.to_vec(), ..PreflightRequest::default() });
    let found = report.findings.into_iter().find(|it| it.kind == LeftoverKind::Listener)?;
    Some((found.status, found.sentence, found.command))
}

#[test]
fn a_strangers_port_is_reported_only_on_request_and_never_reaped() {
    let mut scene = scene(vec![proc(10, 1)]);
    scene.listeners.push(listener(8080, 10));
    assert_eq!(only_listener(&scene, &[]), None);
    let (status, sentence, command) = only_listener(&scene, &[8080]).expect("named");
    assert_eq!((status, command), (LeftoverStatus::InUse, None));
    assert!(sentence.contains("also uses port 8080") && sentence.contains("not yours"), "{sentence}");
}

#[test]
fn a_port_of_a_finished_session_is_left_with_the_command_that_frees_it() {
    let mut scene = scene(vec![proc(10, 1)]);
    tie(&mut scene, 10, false);
    scene.listeners.push(listener(8080, 10));
    let (status, sentence, command) = only_listener(&scene, &[]).expect("named");
    assert_eq!(status, LeftoverStatus::Left);
    assert!(sentence.contains("left of session s1"), "{sentence}");
    assert_eq!(command.as_deref(), Some("tracer-user reap --session s1 --yes"));
}

#[test]
fn a_port_whose_holder_cannot_be_seen_is_in_use() {
    let mut scene = scene(vec![]);
    scene.listeners.push(listener(8080, 99));
    assert_eq!(only_listener(&scene, &[8080]).expect("named").0, LeftoverStatus::InUse);
}

#[test]
fn files_are_left_only_when_proven_stale_and_owned() {
    let mut scene = scene(vec![]);
    let file = |path: &str, state, owned: Option<&str>| LeftoverFile {
        path: path.into(),
        kind: FileKind::SharedMemory,
        state,
        owned: owned.map(str::to_owned),
        session: None,
    };
    scene.files = vec![
        file("/dev/shm/a", FileState::Stale("no process maps it".into()), Some("made in session s1")),
        file("/dev/shm/b", FileState::Stale("no process maps it".into()), None),
        file("/dev/shm/c", FileState::Unknown("pid 7 cannot be looked into".into()), Some("x")),
    ];
    let report = judge(&scene, &PreflightRequest::default());
    let statuses: Vec<_> = report.findings.iter().map(|it| it.status).collect();
    assert_eq!(statuses, [LeftoverStatus::Left, LeftoverStatus::Unknown, LeftoverStatus::Note]);
    assert!(!report.clean);
    let asked =
        PreflightRequest { baseline: ["file /dev/shm/a".to_owned()].into(), ..PreflightRequest::default() };
    assert!(judge(&scene, &asked).clean);
}

#[test]
fn an_owned_zombie_is_noted_with_its_parent() {
    let mut dead = proc(12, 11);
    dead.zombie = true;
    let mut shell = proc(10, 1);
    shell.comm = "bash".into();
    let report = judge(&scene(vec![shell, in_repo(proc(11, 10)), dead]), &PreflightRequest::default());
    assert_eq!(
        report.findings.iter().map(|it| (it.kind, it.status)).collect::<Vec<_>>(),
        [(LeftoverKind::Zombie, LeftoverStatus::Note)]
    );
    assert!(report.clean);
}
