//! The lines of a trace in words for people, each with its time since the beginning.

use super::record::{Body, ExitLine, Line, Origin, ProcessKey, StallLine, StallPhase};
use super::session_state::resource_id;
use super::text::{ByteString, duration};

/// One line of the trace in words, without its time; `None` for snapshots and samples, which only programs
/// read.
pub fn describe(line: &Line) -> Option<String> {
    Some(match &line.body {
        Body::Header(header) => {
            let words: Vec<String> = header.cmdline.iter().map(ByteString::escaped).collect();
            format!("session  {} begins: {}", header.session_id, words.join(" "))
        }
        Body::Fork(fork) => {
            let name = fork.comm.as_ref().map_or_else(|| "?".to_owned(), ByteString::escaped);
            match (fork.origin, fork.parent) {
                (Origin::Root, _) => format!("root     pid {} ({name})", fork.process.pid),
                (Origin::Fork, Some(parent)) => {
                    format!("fork     pid {} ({name}) by pid {}", fork.process.pid, parent.pid)
                }
                (_, Some(parent)) => {
                    format!("found    pid {} ({name}), child of pid {}", fork.process.pid, parent.pid)
                }
                (_, None) => format!("found    pid {} ({name})", fork.process.pid),
            }
        }
        Body::Exec(exec) => {
            let file = exec.filename.as_ref().unwrap_or(&exec.comm).escaped();
            match exec.by_thread {
                Some(thread) => format!("exec     pid {} by thread {thread}: {file}", exec.process.pid),
                None => format!("exec     pid {}: {file}", exec.process.pid),
            }
        }
        Body::Exit(exit) => format!("exit     {}", exit_text(exit)),
        Body::Signal(signal) => {
            let sender = match (&signal.sender, &signal.sender_comm) {
                (Some(sender), Some(comm)) => format!("pid {} ({})", sender.pid, comm.escaped()),
                (Some(sender), None) => format!("pid {}", sender.pid),
                (None, _) => "the kernel".to_owned(),
            };
            let fate = if signal.delivered { "" } else { ", not delivered" };
            format!("signal   {} to pid {} from {sender}{fate}", signal.signal, signal.process.pid)
        }
        Body::Stall(stall) => format!("stall    {}", stall_text(stall)),
        Body::Anomaly(anomaly) => {
            let of = match (&anomaly.process, &anomaly.comm) {
                (Some(process), Some(comm)) => format!(" pid {} ({})", process.pid, comm.escaped()),
                (Some(process), None) => format!(" pid {}", process.pid),
                (None, _) => String::new(),
            };
            let length = anomaly
                .length_ms
                .map_or_else(String::new, |ms| format!(", over after {}", duration(ms * 1_000_000)));
            format!("anomaly  {}{of}{length}", anomaly.anomaly.name())
        }
        Body::Diagnosis(diagnosis) => {
            let verdict = diagnosis.diagnosis["verdict"].as_str().unwrap_or("unknown");
            let summary = diagnosis.diagnosis["findings"][0]["summary"].as_str().unwrap_or("no finding");
            format!("verdict  {verdict}: {summary}")
        }
        Body::Lost(lost) => format!("lost     {} ({:?})", lost.count, lost.place),
        Body::Note(note) => format!("note     {}", note.text),
        Body::Footer(footer) => match footer.leaked.len() {
            0 => "session  over".to_owned(),
            leaked => format!("session  over, {leaked} still alive: {}", pids(&footer.leaked)),
        },
        Body::Snapshot(_) | Body::Sample(_) => return None,
    })
}

/// One line of the trace in words, with its time since `began_boot_ns`.
pub fn timed(line: &Line, began_boot_ns: u64) -> Option<String> {
    let since = line.boot_ns.saturating_sub(began_boot_ns);
    describe(line).map(|text| format!("{:>10.6} s  {text}", since as f64 / 1e9))
}

/// How a process ended, in words.
pub fn exit_text(exit: &ExitLine) -> String {
    let name = exit.comm.as_ref().map_or_else(String::new, |comm| format!(" ({})", comm.escaped()));
    let how = match (exit.exit_code, &exit.signal) {
        (Some(code), _) => format!("exited {code}"),
        (None, Some(signal)) => {
            let core = if exit.core_dumped == Some(true) { ", core dumped" } else { "" };
            let killer = exit
                .killer
                .as_ref()
                .filter(|killer| killer.pid != exit.process.pid)
                .map_or_else(String::new, |killer| {
                    format!(", sent by pid {} ({})", killer.pid, killer.comm.escaped())
                });
            let oom = if exit.oom_victim == Some(true) { ", out of memory" } else { "" };
            format!("killed by {signal}{core}{killer}{oom}")
        }
        (None, None) => "gone, its exit status is unknown".to_owned(),
    };
    format!("pid {}{name} {how}", exit.process.pid)
}

/// A blocked write in words: the writer, the resource, how full it is, for how long.
pub fn stall_text(stall: &StallLine) -> String {
    let fd = stall.fd.map_or_else(String::new, |fd| format!(" fd {fd}"));
    let fill = match (stall.slots_used, stall.slots) {
        (Some(used), Some(slots)) if stall.phase == StallPhase::Open => {
            let bytes = stall.used_bytes.map_or_else(String::new, |bytes| format!(", {bytes} bytes"));
            format!(", {used} of {slots} slots{bytes}")
        }
        _ => String::new(),
    };
    let resource = resource_id(stall);
    let length = duration(stall.length_ns);
    let writer = format!("pid {} ({}){fd}", stall.process.pid, stall.comm.escaped());
    match stall.phase {
        StallPhase::Open => format!("{writer} has been blocked for {length} writing to {resource}{fill}"),
        StallPhase::Close => format!("{writer} continued after {length} blocked writing to {resource}"),
    }
}

fn pids(processes: &[ProcessKey]) -> String {
    let numbers: Vec<String> = processes.iter().map(|process| format!("pid {}", process.pid)).collect();
    numbers.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::event::{Event, EventBody, Exec, ResourceKind, Stall};
    use crate::core::identity::ProcessId;

    fn line(body: EventBody) -> Line {
        let body = Body::from_event(&Event { boot_ns: 3_500_000_000, body });
        Line { v: 1, seq: 0, ts: String::new(), ts_adjusted: false, boot_ns: 3_500_000_000, body }
    }

    #[test]
    fn a_stall_names_the_writer_the_resource_its_fill_and_the_time() {
        let stall = Stall {
            process: ProcessId { tgid: 7, start_ticks: 1 },
            tid: 7,
            comm: b"chatty".to_vec(),
            since_boot_ns: 1_000_000_000,
            fd: Some(1),
            syscall: Some(1),
            kind: ResourceKind::Pipe,
            inode: Some(42),
            device: Some(13),
            socket: None,
            slots: Some((16, 16)),
            used_bytes: Some(65_536),
            capacity_bytes: Some(65_536),
            ends: Some((1, 1)),
            end_seen: None,
        };
        assert_eq!(
            timed(&line(EventBody::StallOpen(stall)), 1_000_000_000).unwrap(),
            "  2.500000 s  stall    pid 7 (chatty) fd 1 has been blocked for 2.5 s writing to pipe:[42], \
             16 of 16 slots, 65536 bytes"
        );
    }

    #[test]
    fn a_hostile_name_cannot_write_to_the_terminal() {
        let exec = Exec {
            process: ProcessId { tgid: 7, start_ticks: 1 },
            by_thread: None,
            comm: b"x".to_vec(),
            filename: Some(b"/tmp/\x1b[2Jx\n".to_vec()),
        };
        assert_eq!(describe(&line(EventBody::Exec(exec))).unwrap(), "exec     pid 7: /tmp/\\x1b[2Jx\\x0a");
    }
}
