//! The verdict on each requirement.

use super::{KernelTrial, MachineFacts, Requirement, RequirementVerdict};

/// Capabilities: number, name, what is lost without it, and the older capability that includes it.
const CAPABILITIES: [(u32, &str, &str, Option<u32>); 6] = [
    (39, "CAP_BPF", "kernel events", Some(CAP_SYS_ADMIN)),
    (38, "CAP_PERFMON", "kernel events", Some(CAP_SYS_ADMIN)),
    (19, "CAP_SYS_PTRACE", "the waits and descriptors of other users' processes", None),
    (2, "CAP_DAC_READ_SEARCH", "some files of other users' processes", None),
    (5, "CAP_KILL", "ending other users' processes", None),
    (
        CAP_SYS_ADMIN,
        "CAP_SYS_ADMIN",
        "kernel stacks (/proc/PID/stack), and mounting the BPF file system",
        None,
    ),
];
const CAP_SYS_ADMIN: u32 = 21;
const CAP_SYS_PTRACE: u32 = 19;

/// The oldest kernel that has everything that the programs use. With their optional parts left out, Linux
/// 5.10 works.
const KERNEL_EVENTS_SINCE: (u32, u32) = (5, 15);
/// The oldest kernel that has the required pidfd calls.
const PIDFDS_SINCE: (u32, u32) = (5, 9);
/// The descriptors of a session of two hundred processes: a pidfd for each, and open files of `/proc`.
const OPEN_FILES_WANTED: u64 = 1024;

fn fine(id: &str, found: impl Into<String>) -> Requirement {
    Requirement {
        id: id.to_owned(),
        found: found.into(),
        verdict: RequirementVerdict::Works,
        lost: None,
        remedy: None,
        essential: false,
    }
}

impl Requirement {
    fn degraded(self, lost: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self {
            verdict: RequirementVerdict::Degraded,
            lost: Some(lost.into()),
            remedy: Some(remedy.into()),
            ..self
        }
    }

    fn not(self, lost: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { verdict: RequirementVerdict::Not, ..self.degraded(lost, remedy) }
    }

    fn essential(self) -> Self {
        Self { essential: true, ..self }
    }
}

/// Every requirement, judged.
pub fn judge(found: &MachineFacts) -> Vec<Requirement> {
    let mut all = vec![kernel_version(found), proc(found), pidfd(found), btf(found), lockdown(found)];
    all.extend(capabilities(found));
    all.extend([
        bpffs(found),
        kernel_events(found),
        pins(found),
        pid_namespace(found),
        proc_connector(found),
        hidepid(found),
        ptrace_scope(found),
        open_files(found),
        pipes(found),
        trace_dir(found),
        log_dir(found),
        bpf_stats(found),
    ]);
    all
}

pub(super) fn version(release: &str) -> Option<(u32, u32)> {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit());
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

fn kernel_version(found: &MachineFacts) -> Requirement {
    let Some(release) = &found.kernel_release else {
        return fine("kernel_version", "unknown");
    };
    let shown = format!("Linux {release} on {}", found.machine.as_deref().unwrap_or("an unknown machine"));
    let it = fine("kernel_version", shown);
    match version(release) {
        Some(version) if version < PIDFDS_SINCE => {
            it.not("everything: pidfds are not available", "use Linux 5.15 or newer").essential()
        }
        // An older kernel may have backports: a trial that worked decides.
        Some(version)
            if version < KERNEL_EVENTS_SINCE
                && !matches!(found.kernel_events, Some(KernelTrial::Worked { .. })) =>
        {
            it.not("kernel events", "use Linux 5.15 or newer")
        }
        _ => it,
    }
}

fn proc(found: &MachineFacts) -> Requirement {
    let it = fine("proc", if found.proc_readable { "readable" } else { "not readable" }).essential();
    if found.proc_readable { it } else { it.not("everything", "mount -t proc proc /proc") }
}

fn pidfd(found: &MachineFacts) -> Requirement {
    match &found.pidfd {
        Ok(()) => fine("pidfd", "works").essential(),
        Err(why) => fine("pidfd", why).essential().not(
            "everything: pidfds are not available",
            "use Linux 5.9 or newer; in a container, a seccomp profile that allows pidfd_open",
        ),
    }
}

fn btf(found: &MachineFacts) -> Requirement {
    match &found.btf {
        Some(Ok(bytes)) => fine("btf", format!("/sys/kernel/btf/vmlinux, {bytes} bytes")),
        Some(Err(why)) => {
            fine("btf", why).not("kernel events", "use a kernel with CONFIG_DEBUG_INFO_BTF, and mount /sys")
        }
        None => fine("btf", "none: no /sys/kernel/btf/vmlinux")
            .not("kernel events", "use a kernel with CONFIG_DEBUG_INFO_BTF, and mount /sys"),
    }
}

fn lockdown(found: &MachineFacts) -> Requirement {
    match found.lockdown.as_deref() {
        None => fine("lockdown", "none"),
        Some("confidentiality") => fine("lockdown", "confidentiality")
            .not("kernel events: programs may not read the kernel's memory", "boot with lockdown=integrity"),
        Some(mode) => fine("lockdown", mode),
    }
}

fn has(found: &MachineFacts, number: u32) -> Option<bool> {
    found.capabilities.map(|set| set >> number & 1 == 1)
}

fn capabilities(found: &MachineFacts) -> impl Iterator<Item = Requirement> + '_ {
    CAPABILITIES.iter().map(|(number, name, lost, included_in)| {
        let id = name.to_lowercase();
        let instead = included_in.and_then(|other| has(found, other)) == Some(true);
        match (has(found, *number), instead) {
            (None, _) => fine(&id, "unknown"),
            (Some(true), _) if found.initial_user_namespace == Some(false) => {
                fine(&id, "in a user namespace only")
                    .degraded(*lost, "run outside of the user namespace (rootless container)")
            }
            (Some(true), _) => fine(&id, "present"),
            (Some(false), true) => fine(&id, "missing, and included in CAP_SYS_ADMIN"),
            (Some(false), false) => {
                fine(&id, "missing").degraded(*lost, format!("run as root, or grant {name}"))
            }
        }
    })
}

fn bpffs(found: &MachineFacts) -> Requirement {
    if found.bpffs_mounted {
        return fine("bpffs", "mounted at /sys/fs/bpf");
    }
    let it = fine("bpffs", "not mounted at /sys/fs/bpf");
    match &found.kernel_events {
        Some(KernelTrial::Failed(_)) => it.not("kernel events", "mount -t bpf bpf /sys/fs/bpf"),
        _ if has(found, CAP_SYS_ADMIN) == Some(true) => {
            fine("bpffs", "not mounted at /sys/fs/bpf; it is mounted when needed")
        }
        _ => it.not("kernel events", "mount -t bpf bpf /sys/fs/bpf"),
    }
}

fn kernel_events(found: &MachineFacts) -> Requirement {
    match &found.kernel_events {
        None => fine("kernel_events", "not tried").degraded(LOST_WITHOUT_EVENTS, "run without --no-kernel"),
        Some(KernelTrial::Worked { missing_fields }) if missing_fields.is_empty() => {
            fine("kernel_events", "programs loaded, attached and removed")
        }
        Some(KernelTrial::Worked { missing_fields }) => {
            let found = "programs loaded, attached and removed; this kernel has no ";
            fine("kernel_events", format!("{found}{}", missing_fields.join(", ")))
                .degraded("the facts that need those fields", "use another kernel")
        }
        Some(KernelTrial::Failed(why)) => fine("kernel_events", why).not(
            LOST_WITHOUT_EVENTS,
            rights(found).unwrap_or_else(|| {
                "see the missing requirements above; until then /proc, pidfds and polling are used".to_owned()
            }),
        ),
    }
}

fn pins(found: &MachineFacts) -> Requirement {
    match &found.collected_pins {
        None => fine("pins", "not looked for"),
        Some(Ok(pins)) if pins.is_empty() => fine("pins", "none without an owner"),
        Some(Ok(pins)) => {
            fine("pins", format!("removed {} that had no owner: {}", pins.len(), pins.join(", ")))
        }
        // The directory of another user is reported with what it prevents.
        Some(Err(why)) if !matches!(found.kernel_events, Some(KernelTrial::Worked { .. })) => {
            fine("pins", why)
        }
        Some(Err(why)) => fine("pins", why)
            .degraded("the kernel goes on recording for tracers that died", "run `tracer-user recover`"),
    }
}

/// The commands that give a user kernel events without sudo; `None` where rights are not what is missing.
fn rights(found: &MachineFacts) -> Option<String> {
    if found.uid == 0 || found.initial_user_namespace == Some(false) || !matches!(found.btf, Some(Ok(_))) {
        return None;
    }
    let directory = format!("/sys/fs/bpf/tracer-user-{}", found.uid);
    let make = format!("sudo mkdir -p -m 700 {directory} && sudo chown {} {directory}", found.uid);
    let has_all = FOR_KERNEL_EVENTS.iter().all(|number| has(found, *number) == Some(true));
    let names: Vec<String> = CAPABILITIES
        .iter()
        .filter(|(number, ..)| FOR_KERNEL_EVENTS.contains(number))
        .map(|(_, name, ..)| name.to_lowercase())
        .collect();
    let grant = format!("sudo setcap {}=ep \"$(command -v tracer-user)\"", names.join(","));
    Some(if has_all { make } else { format!("{grant} && {make}") })
}

/// CAP_BPF and CAP_PERFMON load and attach the programs. CAP_SYS_PTRACE and CAP_DAC_READ_SEARCH read `/proc`
/// and pass the root of the BPF file system.
const FOR_KERNEL_EVENTS: [u32; 4] = [39, 38, CAP_SYS_PTRACE, 2];

const LOST_WITHOUT_EVENTS: &str = "processes that live shorter than a poll, exact ends of processes that are not \
    children, the beginnings of blocked writes, and sessions that outlive their tracer";

fn pid_namespace(found: &MachineFacts) -> Requirement {
    match found.initial_pid_namespace {
        Some(true) => fine("pid_namespace", "the initial one"),
        Some(false) => fine("pid_namespace", "not the initial one (container)").degraded(
            "kernel events, and processes outside of the namespace: what waits for them waits for an unseen process",
            "run on the host, or with the host's pid namespace (--pid=host)",
        ),
        None => fine("pid_namespace", "unknown"),
    }
}

fn proc_connector(found: &MachineFacts) -> Requirement {
    match (&found.proc_connector, &found.kernel_events) {
        (Ok(()), _) => fine("proc_connector", "available"),
        (Err(why), Some(KernelTrial::Worked { .. })) => {
            fine("proc_connector", format!("{why}; not needed beside kernel events"))
        }
        (Err(why), _) => fine("proc_connector", why)
            .degraded("forks and exits between two polls", "run as root, or use Linux 6.6 or newer"),
    }
}

fn hidepid(found: &MachineFacts) -> Requirement {
    match &found.hidepid {
        None => fine("hidepid", "off"),
        Some(mode) if has(found, CAP_SYS_PTRACE) == Some(true) => {
            fine("hidepid", format!("{mode}, which hides nothing from this user"))
        }
        Some(mode) => fine("hidepid", mode.clone())
            .degraded("other users' processes, which /proc does not show", "run as root, or remount /proc"),
    }
}

fn ptrace_scope(found: &MachineFacts) -> Requirement {
    let Some(scope) = found.ptrace_scope else { return fine("ptrace_scope", "no Yama") };
    let it = fine("ptrace_scope", scope.to_string());
    match scope {
        0 => it,
        1 | 2 if has(found, CAP_SYS_PTRACE) == Some(true) => it,
        1 | 2 => it.degraded(
            "system calls, memory and descriptors of processes that are not descendants",
            "run as root, or sysctl kernel.yama.ptrace_scope=0",
        ),
        _ => it.degraded(
            "system calls, memory and descriptors of all processes",
            "boot without kernel.yama.ptrace_scope=3",
        ),
    }
}

fn open_files(found: &MachineFacts) -> Requirement {
    let show = |limit: Option<u64>| limit.map_or_else(|| "unlimited".to_owned(), |limit| limit.to_string());
    let (soft, hard) = found.open_files;
    let it = fine("open_files", format!("{} (hard limit {})", show(soft), show(hard)));
    match soft {
        Some(soft) if soft < OPEN_FILES_WANTED => it.degraded(
            "sessions of many processes: each takes descriptors",
            format!("ulimit -n {OPEN_FILES_WANTED}"),
        ),
        _ => it,
    }
}

fn pipes(found: &MachineFacts) -> Requirement {
    let (Some(max), Some(soft)) = (found.pipe_max_size, found.pipe_user_pages_soft) else {
        return fine("pipe_limits", "unknown");
    };
    let it = fine("pipe_limits", format!("a pipe grows to {max} bytes; {soft} pages for a user's pipes"));
    if max <= 65_536 {
        return it.degraded("relief of stalled pipes (--on-hang relieve)", "sysctl fs.pipe-max-size=1048576");
    }
    if (1..1024).contains(&soft) {
        return it.degraded(
            "capacity of pipes: past the limit, new pipes of a user hold 8 KiB, and writers block early",
            "sysctl fs.pipe-user-pages-soft=16384",
        );
    }
    it
}

fn trace_dir(found: &MachineFacts) -> Requirement {
    match &found.trace_dir {
        Ok((path, true)) => fine("trace_dir", format!("{path}, in memory")),
        Ok((path, false)) => fine("trace_dir", format!("{path}, on a disk")).degraded(
            "speed: every line of a trace may wait for the disk",
            "name a directory on a tmpfs with --trace-dir",
        ),
        Err(why) => fine("trace_dir", why.clone()).not(
            "live traces: sessions are kept in memory and lost with the tracer",
            "name one with --trace-dir",
        ),
    }
}

fn log_dir(found: &MachineFacts) -> Requirement {
    match &found.log_dir {
        Ok(path) => fine("log_dir", path.clone()),
        Err(why) => fine("log_dir", why.clone())
            .not("recorded sessions: none is kept", "name a directory with --log-dir"),
    }
}

fn bpf_stats(found: &MachineFacts) -> Requirement {
    match found.bpf_stats {
        Some(true) => fine("bpf_stats", "on: programs are timed, which has a small cost"),
        Some(false) => fine("bpf_stats", "off, as it should be outside of benchmarks"),
        None => fine("bpf_stats", "unknown"),
    }
}
