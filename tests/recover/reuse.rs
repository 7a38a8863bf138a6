//! A number that was given out again, for real: the kernel is made to give a dead root's number to a stranger, and no
//! recovery mistakes the one for the other, whether the kernel recorded the root's end or nobody did.

use crate::sessions::{self, *};
use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Command, Stdio};
use std::sync::PoisonError;
use std::time::Instant;
use tracer_user::core::gates::{Action, Policy, Reason};
use tracer_user::core::identity::{NS_PER_TICK, ProcessId};
use tracer_user::core::record::sidecar::Enrollment;
use tracer_user::kernel::{KernelTracer, Settings};
use tracer_user::session::recover::RecoverConfig;
use tracer_user::signals::pidfd::PidFd;

/// A process that does nothing, under the number it was made with; ended with the test.
struct Stranger(libc::pid_t);

impl Stranger {
    /// `None` without the right to choose numbers, or when somebody else has this one already.
    fn with_number_of(gone: ProcessId) -> Option<Self> {
        // In another tick than its predecessor: numbers wrap far too slowly for anything else.
        while anchor().boot_ns / NS_PER_TICK <= gone.start_ticks + 1 {
            std::thread::yield_now();
        }
        let number = libc::pid_t::try_from(gone.tgid).unwrap();
        // SAFETY: an all-zero `clone_args` asks for a plain fork.
        let mut arguments: libc::clone_args = unsafe { std::mem::zeroed() };
        arguments.exit_signal = libc::SIGCHLD as u64;
        arguments.set_tid = &raw const number as u64;
        arguments.set_tid_size = 1;
        // The child never executes: until it has closed its copies of all descriptors, locks of other tests among them,
        // nothing may be recovered. It has closed them when the pipe ends.
        let _alone = sessions::STARTING.write().unwrap_or_else(PoisonError::into_inner);
        let (mut closed, copied) = std::io::pipe().unwrap();
        // SAFETY: the structure and the number in it outlive the call; as after fork, the child makes system calls alone.
        let made =
            unsafe { libc::syscall(libc::SYS_clone3, &raw mut arguments, size_of::<libc::clone_args>()) };
        match made {
            0 => {
                // SAFETY: closes descriptors of this process, whose copy of the memory uses none of them any more.
                unsafe { libc::syscall(libc::SYS_close_range, 0, u32::MAX, 0) };
                loop {
                    // SAFETY: waits for signals; nothing is passed.
                    unsafe { libc::pause() };
                }
            }
            -1 => {
                let error = std::io::Error::last_os_error();
                assert!(!required(), "number {number} could not be given out again: {error}");
                eprintln!("skipped: number {number} could not be given out again: {error}");
                None
            }
            made => {
                assert_eq!(made, i64::from(number));
                drop(copied);
                assert_eq!(closed.read(&mut [0]).unwrap(), 0);
                Some(Self(number))
            }
        }
    }

    fn is_alive(&self) -> bool {
        // SAFETY: asks about our own child, which is not reaped; nothing is written.
        unsafe { libc::waitpid(self.0, std::ptr::null_mut(), libc::WNOHANG) == 0 }
    }
}

impl Drop for Stranger {
    fn drop(&mut self) {
        // SAFETY: our own child, which is not reaped: the number is its.
        unsafe {
            libc::kill(self.0, libc::SIGKILL);
            libc::waitpid(self.0, std::ptr::null_mut(), 0);
        }
    }
}

fn required() -> bool {
    std::env::var("TRACER_REQUIRE_BPF").as_deref() == Ok("1")
}

#[test]
fn without_the_kernels_record_a_stranger_under_the_roots_number_is_not_the_root() {
    let place = Place::new();
    let config = RecoverConfig { policy: Policy { adopt: true, ..place.config().policy }, ..place.config() };
    for (id, with_inode) in [("by-start", false), ("by-inode", true)] {
        let (sleeper, root) = Sleeper::start();
        let inode = PidFd::of_number(root.tgid).unwrap().inode().filter(|_| with_inode);
        leave(&place.traces, live_with(&place, Enrollment { pidfd_ino: inode, ..enrollment(id, root) }));
        let report = recover(&RecoverConfig { dry_run: true, ..config.clone() }, &mut || true);
        assert_eq!(entry(&report, id).judgement.action, Action::Adopt, "{id}: the root itself runs");
        drop(sleeper);
        let Some(stranger) = Stranger::with_number_of(root) else { return };
        assert_eq!(identify(root.tgid).tgid, root.tgid);
        let report = recover(&config, &mut || true);
        assert_eq!(reasons(&report, id), [Reason::OwnerDied, Reason::RootEnded(None)], "{id}");
        assert!(was_filed(&report, id) && report.adopted.is_empty(), "{report:#?}");
        assert_eq!(place.summary(id).termination_reason, "UNKNOWN");
        assert!(stranger.is_alive());
    }
}

#[test]
fn the_kernels_record_is_of_the_root_whoever_has_its_number_now() {
    let settings = Settings {
        session: Place::new().traces.new_pin_name().unwrap(),
        stall_threshold_ns: 1_000_000_000,
        kernel_log: false,
        traces: None,
    };
    match KernelTracer::start(&settings) {
        Ok(tracer) => tracer.finish().unwrap(),
        Err(error) => {
            assert!(!required(), "{error}");
            eprintln!("skipped: no kernel events: {error}");
            return;
        }
    }
    let place = Place::new();
    let tracer = |words: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tracer-user"));
        command.arg(words[0]).arg("--trace-dir").arg(place.temp.path().join("traces"));
        command.arg("--log-dir").arg(place.temp.path().join("log")).args(&words[1..]);
        command
    };
    let mut owner =
        tracer(&["run", "--quiet", "--session-id", "s", "--", "sh", "-c", "echo $$; read -r line; exit 7"]);
    let mut owner = start(owner.stdin(Stdio::piped()).stdout(Stdio::piped())).unwrap();
    let mut said = String::new();
    BufReader::new(owner.stdout.take().unwrap()).read_line(&mut said).unwrap();
    let root = identify(said.trim().parse().unwrap());
    let mut input = owner.stdin.take().unwrap();
    owner.kill().unwrap();
    owner.wait().unwrap();
    // It is an orphan now: whoever adopted it reaps it, and its number is free.
    writeln!(input, "end").unwrap();
    let began = Instant::now();
    while std::path::Path::new(&format!("/proc/{}", root.tgid)).exists() {
        assert!(began.elapsed().as_secs() < 60, "nobody reaped the job");
        std::thread::yield_now();
    }
    let Some(stranger) = Stranger::with_number_of(root) else { return };
    let output = output(&mut tracer(&["recover", "--adopt", "--min-age", "0s"]));
    assert!(output.status.success(), "{output:?}");
    let summary = place.summary("s");
    assert_eq!((summary.termination_reason.as_str(), summary.processes.leaked.len()), ("EXITED 7", 0));
    assert_eq!(place.trace_names(), Vec::<String>::new());
    assert!(stranger.is_alive());
}
