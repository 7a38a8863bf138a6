//! Machines with one thing missing.

use super::judge::version;
use super::*;

/// A machine on which everything works.
fn good() -> MachineFacts {
    MachineFacts {
        kernel_release: Some("6.18.44".into()),
        machine: Some("x86_64".into()),
        proc_readable: true,
        btf: Some(Ok(5_000_000)),
        lockdown: Some("integrity".into()),
        uid: 0,
        capabilities: Some(u64::MAX),
        initial_user_namespace: Some(true),
        initial_pid_namespace: Some(true),
        bpffs_mounted: true,
        kernel_events: Some(KernelTrial::Worked { missing_fields: vec![] }),
        collected_pins: Some(Ok(vec!["1-2-3".into()])),
        pidfd: Ok(()),
        proc_connector: Ok(()),
        hidepid: None,
        ptrace_scope: Some(1),
        bpf_stats: Some(false),
        pipe_max_size: Some(1 << 20),
        pipe_user_pages_soft: Some(16384),
        open_files: (Some(1024), Some(4096)),
        trace_dir: Ok(("/dev/shm/tracer-user-0".into(), true)),
        log_dir: Ok("/var/log/tracer-user".into()),
        fault_points: None,
    }
}

#[track_caller]
fn expect(found: &MachineFacts, id: &str, verdict: RequirementVerdict, whole: RequirementVerdict) {
    let doctor = DoctorReport::of(found);
    let it = doctor.requirements.iter().find(|it| it.id == id).expect("there is such a requirement");
    assert_eq!((it.verdict, doctor.verdict), (verdict, whole), "{it:?}");
    assert_eq!(it.lost.is_some(), verdict != RequirementVerdict::Works, "{it:?}");
    assert_eq!(it.remedy.is_some(), verdict != RequirementVerdict::Works, "{it:?}");
}

#[test]
fn a_good_machine_works() {
    let doctor = DoctorReport::of(&good());
    let bad: Vec<_> =
        doctor.requirements.iter().filter(|it| it.verdict != RequirementVerdict::Works).collect();
    assert!(bad.is_empty(), "{bad:?}");
    assert_eq!((doctor.verdict, doctor.kernel_events), (RequirementVerdict::Works, Some(true)));
}

#[test]
fn each_missing_requirement_is_reported_and_degrades_the_whole() {
    use RequirementVerdict::{Degraded, Not};
    type Spoil = fn(&mut MachineFacts);
    let cases: [(&str, RequirementVerdict, Spoil); 20] = [
        ("kernel_version", Not, |f| {
            f.kernel_release = Some("5.10.0-30-amd64".into());
            f.kernel_events = Some(KernelTrial::Failed("no".into()));
        }),
        ("btf", Not, |f| f.btf = None),
        ("btf", Not, |f| f.btf = Some(Err("permission denied".into()))),
        ("lockdown", Not, |f| f.lockdown = Some("confidentiality".into())),
        ("cap_sys_ptrace", Degraded, |f| f.capabilities = Some(!(1 << 19))),
        ("cap_kill", Degraded, |f| f.capabilities = Some(!(1 << 5))),
        ("cap_bpf", Degraded, |f| f.capabilities = Some(0)),
        ("cap_bpf", Degraded, |f| f.initial_user_namespace = Some(false)),
        ("bpffs", Not, |f| {
            (f.bpffs_mounted, f.kernel_events) = (false, Some(KernelTrial::Failed("no".into())))
        }),
        ("kernel_events", Not, |f| f.kernel_events = Some(KernelTrial::Failed("no".into()))),
        ("kernel_events", Degraded, |f| f.kernel_events = None),
        ("kernel_events", Degraded, |f| {
            f.kernel_events = Some(KernelTrial::Worked { missing_fields: vec!["pid.ino".into()] });
        }),
        ("pins", Degraded, |f| f.collected_pins = Some(Err("locked".into()))),
        ("pid_namespace", Degraded, |f| f.initial_pid_namespace = Some(false)),
        ("hidepid", Degraded, |f| (f.hidepid, f.capabilities) = (Some("invisible".into()), Some(0))),
        ("ptrace_scope", Degraded, |f| f.ptrace_scope = Some(3)),
        ("open_files", Degraded, |f| f.open_files = (Some(256), None)),
        ("pipe_limits", Degraded, |f| f.pipe_user_pages_soft = Some(64)),
        ("trace_dir", Degraded, |f| f.trace_dir = Ok(("/tmp/tracer-user-0".into(), false))),
        ("log_dir", Not, |f| f.log_dir = Err("read-only".into())),
    ];
    for (id, verdict, spoil) in cases {
        let mut found = good();
        spoil(&mut found);
        expect(&found, id, verdict, RequirementVerdict::Degraded);
    }
}

#[test]
fn an_old_kernel_on_which_events_work_is_accepted() {
    let mut found = good();
    found.kernel_release = Some("5.10.0-30-amd64".into());
    expect(&found, "kernel_version", RequirementVerdict::Works, RequirementVerdict::Works);
}

#[test]
fn without_an_essential_requirement_nothing_works() {
    type Case = (&'static str, fn(&mut MachineFacts));
    let cases: [Case; 3] = [
        ("proc", |f| f.proc_readable = false),
        ("pidfd", |f| f.pidfd = Err("Function not implemented".into())),
        ("kernel_version", |f| f.kernel_release = Some("4.19.0".into())),
    ];
    for (id, spoil) in cases {
        let mut found = good();
        spoil(&mut found);
        expect(&found, id, RequirementVerdict::Not, RequirementVerdict::Not);
    }
}

#[test]
fn a_capability_that_sys_admin_includes_is_present() {
    let mut found = good();
    found.capabilities = Some(!(1 << 39 | 1 << 38));
    expect(&found, "cap_bpf", RequirementVerdict::Works, RequirementVerdict::Works);
    found.bpffs_mounted = false;
    expect(&found, "bpffs", RequirementVerdict::Works, RequirementVerdict::Works);
}

#[test]
fn kernel_releases_are_parsed() {
    assert_eq!(version("6.1.0-18-cloud-amd64"), Some((6, 1)));
    assert_eq!(version("5.15-rc3"), Some((5, 15)));
    assert_eq!(version("weird"), None);
}
