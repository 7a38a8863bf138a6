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
        service: None,
        session: tgid,
        terminal: false,
        environment: Vec::new(),
    }
}

fn in_repo(mut it: Proc) -> Proc {
    it.cwd = Some("/srv/repo/tests".into());
    it
}

fn scene(processes: Vec<Proc>) -> Scene {
    Scene {
        boot_ns: 1_000_000_000_000,
        uid: 1000,
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
        asked: false,
        session: None,
        written_during: Some("s1".into()),
        exposed: None,
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

#[test]
fn what_a_daemon_of_the_checkout_started_elsewhere_is_not_left() {
    let mut of_another_user = in_repo(proc(12, 10));
    of_another_user.uid = Some(1001);
    let scene = scene(vec![
        in_repo(proc(10, 1)),
        proc(11, 10),
        of_another_user,
        in_repo(proc(13, 10)),
        in_repo(proc(14, 11)),
    ]);
    assert_eq!(left(&scene), [10, 13]);
}

#[test]
fn a_service_and_a_process_on_anothers_terminal_are_not_left() {
    let mut service = in_repo(proc(10, 1));
    service.service = Some("/system.slice/app.service".into());
    let mut shell = in_repo(proc(12, 11));
    (shell.terminal, shell.session) = (true, 12);
    let mut job = in_repo(proc(13, 1));
    (job.terminal, job.session) = (true, 12);
    let mut scene = scene(vec![service, proc(11, 1), shell, job, in_repo(proc(20, 1))]);
    scene.own_pid = 20;
    scene.own_ancestry = [20].into();
    assert!(left(&scene).is_empty());
    // The same from within that service and on that terminal.
    let own = scene.processes.last_mut().expect("this process");
    (own.service, own.terminal, own.session) = (Some("/system.slice/app.service".into()), true, 12);
    assert_eq!(left(&scene), [10, 13]);
}

#[test]
fn a_requested_process_needs_less_proof() {
    let with = |variable: &str| {
        let mut it = proc(10, 1);
        it.uid = Some(1001);
        it.environment = vec![variable.into()];
        it
    };
    let ownership = |processes: Vec<Proc>| {
        let asked = PreflightRequest { pids: vec![10], ..PreflightRequest::default() };
        let report = judge(&scene(processes), &asked);
        let of_it = |it: &&LeftoverProcess| it.pid == 10;
        let ownership =
            report.findings.iter().flat_map(|it| &it.processes).find(of_it).map(|it| it.ownership.clone());
        ownership.expect("it was requested")
    };
    for variable in ["PWD=/srv/repo/x", "_=/srv/repo/.venv/bin/python", "VIRTUAL_ENV=/srv/repo/.venv"] {
        assert!(ownership(vec![with(variable)]).may_be_reaped(), "{variable}");
    }
    assert_eq!(ownership(vec![with("PWD=/srv/repository")]), Ownership::Stranger);
    let mut child = proc(10, 9);
    assert!(ownership(vec![in_repo(proc(9, 1)), child.clone()]).may_be_reaped());
    child.uid = Some(0);
    assert_eq!(ownership(vec![in_repo(proc(9, 1)), child]), Ownership::Stranger);
}

#[test]
fn what_is_old_and_nobodys_is_noted() {
    let mut scene = scene(vec![proc(10, 1)]);
    let notes = |scene: &Scene| judge(scene, &PreflightRequest::default()).findings.len();
    assert_eq!(notes(&scene), 0);
    scene.boot_ns = 4_000_000_000_000;
    let report = judge(&scene, &PreflightRequest::default());
    assert_eq!((report.clean, report.findings[0].status), (true, LeftoverStatus::Note));
    assert!(report.findings[0].sentence.contains("its owner is unknown"), "{report:?}");
}

#[test]
fn a_search_that_ended_early_is_not_clean() {
    let mut scene = scene(vec![]);
    scene.incomplete.push("/srv/repo: only 9 entries were searched".into());
    let report = judge(&scene, &PreflightRequest::default());
    assert!(!report.clean && report.problems.len() == 1, "{report:?}");
}

#[test]
fn commands_name_what_they_remove() {
    let mut scene = scene(vec![]);
    let file = |path: &str, asked, session: Option<&str>, exposed| LeftoverFile {
        path: path.into(),
        kind: FileKind::Socket,
        state: FileState::Stale("no socket is bound to it".into()),
        owned: Some("it was requested".into()),
        asked,
        session: session.map(str::to_owned),
        written_during: None,
        exposed,
    };
    let exposed = ExposedFile { directory: "/srv".into(), owner: Some(7), file_owner: 7 };
    scene.files = vec![
        file("/tmp/a[1] b.sock", true, None, None),
        file("/tmp/b.sock", false, Some("s1"), None),
        file("/srv/c.sock", false, None, Some(exposed)),
    ];
    let asked = PreflightRequest { repo_option: " --repo /srv/repo".into(), ..PreflightRequest::default() };
    let report = judge(&scene, &asked);
    let commands: Vec<_> = report.findings.iter().filter_map(|it| it.command.as_deref()).collect();
    assert_eq!(
        commands,
        [
            "tracer-user reap --socket '/tmp/a[[]1[]] b.sock' --yes --repo /srv/repo",
            "tracer-user reap --session s1 --yes --repo /srv/repo",
            "sudo -u '#7' tracer-user reap --all-mine --yes --repo /srv/repo",
        ]
    );
    assert!(report.findings[2].protected.is_some());
}
