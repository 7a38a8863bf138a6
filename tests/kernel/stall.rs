//! A blocked write is reported while it lasts and when it ends, once each, with the file that it is blocked
//! on, between the times that the program itself saw. Nothing else is reported.

use std::time::Instant;

use crate::support::proc::{boot_ns, stat_field};
use crate::support::{PATIENCE, helper};
use crate::traced::{NO_STALLS, Traced};
use crate::writer::{THRESHOLD, Writer, own_times, stall};
use tracer_user::core::event::{EventBody, ResourceKind, Stall};
use tracer_user::core::identity::WaitStatus;

/// An hour: in that time a thread that sleeps now will have slept for longer than any threshold.
const LATER_NS: u64 = 3_600_000_000_000;

const CASES: &[(&str, &str)] = &[
    ("pipe", "write"),
    ("pipe", "write of 2049"),
    ("pipe", "write of 64 KiB"),
    ("small pipe", "write"),
    ("pipe", "writev"),
    ("pipe", "pwritev2"),
    ("pipe", "splice"),
    ("pipe", "tee"),
    ("pipe", "sendfile"),
    ("pipe", "vmsplice"),
    ("fifo", "write"),
    ("fifo", "splice"),
    ("unix stream", "write"),
    ("unix stream", "writev"),
    ("unix stream", "sendto"),
    ("unix stream", "sendmsg"),
    ("unix stream", "sendmmsg"),
    ("unix stream", "splice"),
    ("unix stream", "sendfile"),
    ("unix dgram", "sendto"),
    ("unix dgram", "write"),
    ("unix seqpacket", "sendmsg"),
    ("unix seqpacket", "write"),
    ("pty", "write"),
    ("pty", "writev"),
    ("tcp", "write"),
    ("tcp", "sendto"),
    ("tcp", "sendfile"),
];

#[test]
fn a_blocked_write_is_reported_when_it_begins_and_when_it_ends() {
    let Some(mut traced) = Traced::start(THRESHOLD) else { return };
    println!(
        "{:<16} {:<16} {:>10} {:>12} {:>10} {:>10} {:>13}",
        "written to", "by", "slots", "bytes", "before µs", "after µs", "kernel's ms"
    );
    let mut unseen = 0;
    for (kind, call) in CASES {
        let mut child = helper::held("stalls", &[kind, call]);
        traced.enroll(child.process());
        child.go();
        let writer = Writer::of(&mut child);
        let open = writer.opened(&mut traced);
        let (inode, device) = writer.descriptor();
        child.send_line("release");
        let (from, to) = own_times(&mut child);
        let since = stall(&open).since_boot_ns;
        let closed = writer.closed(&mut traced, since);
        child.send_line("end");
        assert!(child.wait().success());
        traced.until_exit(writer.process);

        let case = format!("{kind}, {call}: {open:?} {closed:?}, the program's {from} to {to}");
        // The hook misses a thread that is switched to from one for which no program may run.
        let seen = stall(&closed).end_seen == Some(true);
        assert!(from <= since && since < closed.boot_ns, "times: {case}");
        assert!(closed.boot_ns <= to || !seen, "times: {case}");
        unseen += usize::from(!seen);
        assert_eq!(open.boot_ns, since + THRESHOLD.as_nanos() as u64, "{case}");
        let reported = |since_from: u64, since_to: u64| -> Vec<bool> {
            let of_writer = traced.stalls().filter(|(_, _, stall)| writer.is_of(stall));
            let within =
                of_writer.filter(|(_, _, stall)| (since_from..=since_to).contains(&stall.since_boot_ns));
            within.map(|(ended, _, _)| ended).collect()
        };
        assert_eq!(reported(since, since), [false, true], "once each: {case}");
        // A file that passes data on in portions may let a call sleep again before it is done.
        if !matches!(*kind, "pty" | "tcp") {
            assert_eq!(reported(from, to), [false, true], "and nothing else: {case}");
        }
        for event in [&open, &closed] {
            let stall = stall(event);
            assert_eq!(stall.fd, Some(writer.fd), "{case}");
            assert_eq!(stall.inode, Some(inode), "{case}");
            assert_eq!(stall.kind, resource(kind), "{case}");
            assert_eq!(stall.syscall, Some(number(call)), "{case}");
            assert_eq!(stall.comm, b"test-helper", "{case}");
            assert_eq!(stall.socket, socket(kind), "{case}");
            if *kind == "pty" {
                let device = (libc::major(device) << 20) | libc::minor(device);
                assert_eq!(stall.device, Some(device), "{case}");
            }
        }
        fill(kind, call, stall(&open));
        let used = stall(&open).used_bytes.map_or("-".to_owned(), |bytes| bytes.to_string());
        println!(
            "{kind:<16} {call:<16} {:>10} {used:>12} {:>10} {:>10} {:>13.3}",
            stall(&open).slots.map_or("-".to_owned(), |(used, all)| format!("{used}/{all}")),
            (since - from) / 1000,
            to.saturating_sub(closed.boot_ns) / 1000,
            (closed.boot_ns - since) as f64 / 1e6,
        );
    }
    assert!(unseen <= CASES.len() / 4, "{unseen} ends unseen of {}", CASES.len());
    traced.finish();
}

/// Checks how full the file is, where the kernel shows it.
fn fill(kind: &str, call: &str, stall: &Stall) {
    let (slots, used, capacity) = match (kind, call) {
        ("small pipe", _) => (Some((2, 2)), Some(8192), 8192),
        ("pipe", "write of 2049") => (Some((16, 16)), Some(32784), 65536),
        ("pipe" | "fifo", "splice" | "tee") => (Some((16, 16)), stall.used_bytes, 65536),
        ("pipe" | "fifo", _) => (Some((16, 16)), Some(65536), 65536),
        (_, _) => {
            assert_eq!((stall.slots, stall.ends), (None, None), "{kind}: {stall:?}");
            if kind != "pty" {
                assert!(stall.capacity_bytes.is_some_and(|bytes| bytes > 0), "{kind}: {stall:?}");
                let (used, room) = (stall.used_bytes.unwrap(), stall.capacity_bytes.unwrap());
                // A stream continues when about a third is free. A queue of datagrams is full by their
                // number.
                assert!(used > room / 2 || kind == "unix dgram", "{kind}: {stall:?}");
            }
            return;
        }
    };
    assert_eq!(
        (stall.slots, stall.used_bytes, stall.capacity_bytes),
        (slots, used, Some(capacity)),
        "{kind}, {call}"
    );
    assert_eq!(stall.ends, Some((1, 1)), "{kind}, {call}");
}

fn resource(kind: &str) -> ResourceKind {
    match kind {
        "pipe" | "small pipe" => ResourceKind::Pipe,
        "fifo" => ResourceKind::Fifo,
        "pty" => ResourceKind::Tty,
        "tcp" => ResourceKind::Socket,
        _ => ResourceKind::UnixSocket,
    }
}

fn socket(kind: &str) -> Option<(u16, u16)> {
    let (family, kind) = match kind {
        "unix stream" => (libc::AF_UNIX, libc::SOCK_STREAM),
        "unix dgram" => (libc::AF_UNIX, libc::SOCK_DGRAM),
        "unix seqpacket" => (libc::AF_UNIX, libc::SOCK_SEQPACKET),
        "tcp" => (libc::AF_INET, libc::SOCK_STREAM),
        _ => return None,
    };
    Some((family as u16, kind as u16))
}

fn number(call: &str) -> u32 {
    let number = match call {
        "writev" => libc::SYS_writev,
        "pwritev2" => libc::SYS_pwritev2,
        "sendto" => libc::SYS_sendto,
        "sendmsg" => libc::SYS_sendmsg,
        "sendmmsg" => libc::SYS_sendmmsg,
        "splice" => libc::SYS_splice,
        "tee" => libc::SYS_tee,
        "sendfile" => libc::SYS_sendfile,
        "vmsplice" => libc::SYS_vmsplice,
        _ => libc::SYS_write,
    };
    number as u32
}

/// Waits until a thread sleeps in a system call, and gives the call's number.
fn asleep(process: u32, tid: u32) -> u32 {
    let deadline = Instant::now() + PATIENCE;
    let mut before = String::new();
    loop {
        // The same twice, stack pointer included, and asleep both times: it stays in that call.
        let call = std::fs::read_to_string(format!("/proc/{process}/task/{tid}/syscall")).unwrap();
        let state = stat_field(&format!("/proc/{process}/task/{tid}/stat"), 3);
        if state.as_deref() == Some("S") && call == before && !call.starts_with("running") {
            return call.split(' ').next().unwrap().parse().unwrap_or(u32::MAX);
        }
        before = call;
        assert!(Instant::now() < deadline, "never asleep: {before} {state:?}");
        std::thread::yield_now();
    }
}

#[test]
fn threads_that_wait_for_input_or_sleep_are_not_reported() {
    let Some(mut traced) = Traced::start(THRESHOLD) else { return };
    let mut writer = helper::held("stalls", &["pipe", "write"]);
    traced.enroll(writer.process());
    writer.go();
    let control = Writer::of(&mut writer);
    let open = control.opened(&mut traced);
    for (call, number) in [
        ("read", libc::SYS_read),
        ("recv", libc::SYS_recvfrom),
        ("splice to a pipe", libc::SYS_splice),
        ("splice to a socket", libc::SYS_splice),
        ("tee", libc::SYS_tee),
        ("vmsplice", libc::SYS_vmsplice),
        ("nanosleep", libc::SYS_clock_nanosleep),
        ("poll for room", libc::SYS_ppoll),
        ("futex", libc::SYS_futex),
    ] {
        let mut child = helper::held("sleeps", &[call]);
        let process = child.process();
        traced.enroll(process);
        child.go();
        let line = child.line();
        let tid: u32 = line.strip_prefix("sleeper ").expect("a sleeper").parse().unwrap();
        // Not a call before the one it is to sleep in: the allocator or the loader may take a lock.
        let deadline = Instant::now() + PATIENCE;
        #[allow(clippy::useless_conversion, reason = "the type of these numbers differs by machine")]
        let numbers = [number, poll_number(number)].map(|number| u32::try_from(number).unwrap());
        while !numbers.contains(&asleep(process.tgid, tid)) {
            assert!(Instant::now() < deadline, "{call}: sleeps elsewhere");
        }
        let mut events = Vec::new();
        traced.tracer().open_stalls(boot_ns() + LATER_NS, &mut events);
        assert!(events.is_empty(), "{call}: {events:?}");
        child.kill();
        child.wait();
        let exit = traced.until_exit(process);
        assert_eq!(exit.status, Some(WaitStatus(9)));
    }
    traced.collect();
    let others: Vec<_> = traced.stalls().filter(|(_, _, stall)| !control.is_of(stall)).collect();
    assert!(others.is_empty(), "{others:?}");
    // The hook was at work all the time.
    writer.send_line("release");
    own_times(&mut writer);
    control.closed(&mut traced, stall(&open).since_boot_ns);
    writer.send_line("end");
    assert!(writer.wait().success());
    traced.finish();
}

/// x86 has a system call of its own for poll(2).
fn poll_number(number: i64) -> i64 {
    #[cfg(target_arch = "x86_64")]
    if number == libc::SYS_ppoll {
        return libc::SYS_poll;
    }
    number
}

#[test]
fn a_stall_below_the_threshold_is_not_reported() {
    let mut child = helper::held("stalls", &["pipe", "write"]);
    let Some(mut traced) = Traced::of(&mut child, NO_STALLS) else { return };
    let writer = Writer::of(&mut child);
    assert_eq!(asleep(writer.process.tgid, writer.tid), libc::SYS_write as u32);
    traced.collect();
    child.send_line("release");
    own_times(&mut child);
    child.send_line("end");
    assert!(child.wait().success());
    traced.until_exit(writer.process);
    assert_eq!(traced.stalls().count(), 0, "{:?}", traced.events);
    traced.finish();
}

#[test]
fn stalls_outside_the_session_are_not_reported() {
    let mut one = helper::held("stalls", &["pipe", "write"]);
    let mut other = helper::held("stalls", &["pipe", "write"]);
    let (Some(mut first), Some(mut second)) =
        (Traced::of(&mut one, THRESHOLD), Traced::of(&mut other, THRESHOLD))
    else {
        return;
    };
    let writers = [Writer::of(&mut one), Writer::of(&mut other)];
    for (writer, traced) in writers.iter().zip([&mut first, &mut second]) {
        writer.opened(traced);
    }
    for child in [&mut one, &mut other] {
        child.send_line("release");
        own_times(child);
        child.send_line("end");
        assert!(child.wait().success());
    }
    for (writer, mut traced) in writers.iter().zip([first, second]) {
        traced.until_exit(writer.process);
        let reported: Vec<bool> = traced.stalls().map(|(ended, _, _)| ended).collect();
        assert_eq!(reported, [false, true], "{:?}", traced.events);
        assert!(traced.stalls().all(|(_, _, stall)| writer.is_of(stall)), "{:?}", traced.events);
        traced.finish();
    }
}

#[test]
fn the_stall_of_a_killed_writer_ends_before_the_writer_does() {
    let mut child = helper::held("stalls", &["pipe", "write"]);
    let Some(mut traced) = Traced::of(&mut child, THRESHOLD) else { return };
    let writer = Writer::of(&mut child);
    let open = writer.opened(&mut traced);
    child.kill();
    child.wait();
    let exit = traced.until_exit(writer.process);
    assert_eq!(exit.status, Some(WaitStatus(9)));
    let closed = writer.closed(&mut traced, stall(&open).since_boot_ns);
    let end = traced.events.iter().find(|event| matches!(event.body, EventBody::Exit(_))).unwrap();
    let seen = stall(&closed).end_seen == Some(true);
    assert!(closed.boot_ns <= end.boot_ns || !seen, "{:?}", traced.events);
    traced.finish();
}

#[test]
fn each_thread_that_blocks_after_its_leader_ended_is_reported() {
    let mut child = helper::held("two_writers", &[]);
    let Some(mut traced) = Traced::of(&mut child, THRESHOLD) else { return };
    let writers = [Writer::of(&mut child), Writer::of(&mut child)];
    assert_ne!(writers[0].tid, writers[1].tid);
    for writer in &writers {
        let open = writer.opened(&mut traced);
        assert_eq!(stall(&open).fd, Some(writer.fd));
        assert_eq!(stall(&open).process, child.process());
    }
    child.kill();
    child.wait();
    traced.until_exit(writers[0].process);
    for writer in &writers {
        let reported: Vec<bool> =
            traced.stalls().filter(|(_, _, stall)| writer.is_of(stall)).map(|(ended, _, _)| ended).collect();
        assert_eq!(reported, [false, true], "{:?}", traced.events);
    }
    traced.finish();
}
