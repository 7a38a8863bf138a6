//! What makes two hangs the same hang: a name for the wait graph of a finding that another run gives, too.
//!
//! Process numbers, inodes, paths, versions and the number of equal workers differ between runs. So each
//! process is known by the name of its program without versions and hashes, each object by its kind, and
//! each edge of the graph counts once, however many processes have it. Edges are sorted: their order is
//! that of the evidence. The canonical text stays beside its hash, so that a reader can see what was
//! compared.

use std::collections::{BTreeMap, BTreeSet};

use super::model::{Edge, Finding, Fingerprint, ProcessWaits, Role, WaitTree};

/// Version of the canonical text. A change of the text needs a new one.
const VERSION: &str = "v1";

/// The fingerprint of a finding.
pub(super) fn fingerprint(finding: &Finding, waits: &WaitTree) -> Fingerprint {
    let names = Names::of(finding, waits);
    let edges: BTreeSet<String> = finding.edges.iter().map(|edge| names.edge(edge)).collect();
    let roles: BTreeSet<String> = finding
        .processes
        .iter()
        .map(|party| format!("{} {}", party.role.id(), names.process(party.pid)))
        .collect();
    let subtype = finding.subtype.as_ref().map_or_else(String::new, |subtype| format!("/{subtype}"));
    let shape_text = format!(
        "{}{subtype}: {}: {}",
        finding.class.id(),
        roles.into_iter().collect::<Vec<_>>().join(", "),
        edges.into_iter().collect::<Vec<_>>().join("; ")
    );
    let functions: BTreeSet<String> = finding
        .processes
        .iter()
        .filter_map(|party| {
            let function = party.at.as_ref()?.function.as_deref()?;
            Some(format!("{} in {}", names.process(party.pid), without_hash(function)))
        })
        .collect();
    let functions: Vec<String> = functions.into_iter().collect();
    let site_text = format!("{shape_text} at {}", functions.join(", "));
    Fingerprint {
        shape: hashed(&shape_text),
        site: hashed(&site_text),
        title: title(finding, &names),
        shape_text,
        functions,
        tests: tests(finding),
    }
}

/// `pipe-full: emit.py in write(fd 1), test_io.py in wait4`
fn title(finding: &Finding, names: &Names<'_>) -> String {
    let mut parts: Vec<String> = Vec::new();
    let waiters = finding.processes.iter().filter(|party| party.role == Role::Waiter);
    for party in waiters.chain(finding.processes.iter().filter(|party| party.role != Role::Waiter)) {
        let name = names.process(party.pid);
        let call = party.waits_in.as_deref().map(family);
        let part = call.map_or_else(|| name.clone(), |call| format!("{name} in {call}"));
        if parts.len() < 3 && !parts.contains(&part) {
            parts.push(part);
        }
    }
    format!("{}: {}", finding.class.id(), parts.join(", "))
}

fn tests(finding: &Finding) -> Vec<String> {
    let tests: BTreeSet<String> = finding.processes.iter().filter_map(|party| party.test.clone()).collect();
    tests.into_iter().take(8).collect()
}

/// `write(fd 1)` as it is for the standard descriptors, else the call alone.
fn family(call: &str) -> String {
    let (name, arguments) = call.split_once('(').unwrap_or((call, ""));
    match arguments {
        "fd 0)" | "fd 1)" | "fd 2)" => call.to_owned(),
        _ => name.to_owned(),
    }
}

/// The names that do not change between runs.
struct Names<'d> {
    processes: BTreeMap<u32, String>,
    kinds: BTreeMap<&'d str, &'static str>,
}

impl<'d> Names<'d> {
    fn of(finding: &'d Finding, waits: &WaitTree) -> Self {
        let titled = |process: &ProcessWaits| (process.pid, stable(&process.title));
        let mut processes: BTreeMap<u32, String> =
            finding.processes.iter().map(|party| (party.pid, stable(&party.comm))).collect();
        processes.extend(waits.processes.iter().map(titled));
        let kinds =
            finding.resources.iter().map(|r| (r.reference.id.as_str(), r.reference.kind.id())).collect();
        Self { processes, kinds }
    }

    fn process(&self, pid: u32) -> String {
        self.processes.get(&pid).cloned().unwrap_or_else(|| "another process".to_owned())
    }

    /// `python -write fd 1-> pipe`
    fn edge(&self, edge: &Edge) -> String {
        let via = match edge.via.as_str() {
            via @ ("fd 0" | "fd 1" | "fd 2" | "child" | "memory" | "thread" | "holder" | "outside") => via,
            via if via.starts_with("fd ") => "fd",
            _ => "",
        };
        format!("{} -{} {via}-> {}", self.node(&edge.from), edge.op, self.node(&edge.to))
    }

    /// A thread by its process, an object by its kind.
    fn node(&self, id: &str) -> String {
        if let Some(kind) = self.kinds.get(id) {
            return (*kind).to_owned();
        }
        let thread = id.split_once('/').filter(|(pid, tid)| is_number(pid) && is_number(tid));
        match thread.and_then(|(pid, _)| pid.parse().ok()) {
            Some(pid) => self.process(pid),
            None => "outside".to_owned(),
        }
    }
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// The name of a program without its version and without the hash that a build tool adds: `python3.11` is
/// `python`, `chat-1f0c9a6de2b84d57` is `chat`.
fn stable(name: &str) -> String {
    let (stem, extension) = match name.rsplit_once('.') {
        Some((stem, extension)) if !extension.is_empty() && extension.chars().all(char::is_alphabetic) => {
            (stem, format!(".{extension}"))
        }
        _ => (name, String::new()),
    };
    let is_hash = |part: &str| part.len() >= 8 && part.bytes().all(|byte| byte.is_ascii_hexdigit());
    let stem = stem.rsplit_once('-').filter(|(_, part)| is_hash(part)).map_or(stem, |(rest, _)| rest);
    let without = stem.trim_end_matches(|c: char| c.is_ascii_digit() || c == '.' || c == '-');
    if without.is_empty() { name.to_owned() } else { format!("{without}{extension}") }
}

/// A function without the hash that Rust's older symbol names end with.
fn without_hash(function: &str) -> &str {
    let hash = |rest: &str| rest.len() == 16 && rest.bytes().all(|byte| byte.is_ascii_hexdigit());
    match function.rsplit_once("::h") {
        Some((name, rest)) if hash(rest) => name,
        _ => function,
    }
}

/// FNV-1a, 64 bits: fixed for all times, which std's hasher is not.
fn hashed(text: &str) -> String {
    let hash = text
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3));
    format!("{VERSION}:{hash:016x}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::diagnosis::{
        Class, CodePlace, Confidence, Party, Resource, ResourceKind, ResourceRef, Verdict,
    };

    fn party(role: Role, pid: u32, comm: &str, call: &str, function: &str) -> Party {
        let at = CodePlace {
            text: format!("t.py:{pid} in {function}"),
            function: Some(function.into()),
            depth: 0,
        };
        Party {
            role,
            pid,
            tid: pid,
            start_ticks: 1,
            comm: comm.into(),
            cmdline: Vec::new(),
            waits_in: Some(call.into()),
            at: Some(at),
            test: Some("t.py::a".into()),
            session: None,
        }
    }

    fn edge(from: &str, to: &str, via: &str, op: &str) -> Edge {
        Edge { from: from.into(), to: to.into(), via: via.into(), op: op.into() }
    }

    /// A parent that waits for workers which write to a pipe that it alone reads.
    fn hang(parent: u32, workers: &[u32], pipe: u32, function: &str) -> Finding {
        let mut finding = Finding::new(Class::PipeFull, Verdict::Deadlock, Confidence::Proven, String::new());
        let pipe = format!("pipe:[{pipe}]");
        finding.resources = vec![Resource {
            reference: ResourceRef { kind: ResourceKind::Pipe, id: pipe.clone() },
            used: None,
            capacity: None,
            slots_used: None,
            slots: None,
            readers: Vec::new(),
            writers: Vec::new(),
        }];
        let id = |pid: u32| format!("{pid}/{pid}");
        for worker in workers {
            finding.processes.push(party(Role::Waiter, *worker, "python3.11", "write(fd 1)", function));
            finding.edges.push(edge(&id(*worker), &pipe, "fd 1", "write"));
            finding.edges.push(edge(&pipe, &id(parent), "fd 7", "read"));
            finding.edges.push(edge(&id(parent), &id(*worker), "child", "exit"));
        }
        finding.processes.push(party(Role::Holder, parent, "run-1f0c9a6de2b84d57", "wait4(7)", "main"));
        finding
    }

    fn of(finding: &Finding) -> Fingerprint {
        fingerprint(finding, &WaitTree::default())
    }

    #[test]
    fn numbers_order_and_the_count_of_equal_workers_do_not_matter() {
        let one = of(&hang(10, &[11, 12], 900, "emit"));
        let mut other = hang(77, &[90, 88, 89], 4, "emit");
        other.edges.reverse();
        other.processes.reverse();
        let other = of(&other);
        assert_eq!(
            (&one.shape, &one.site),
            (&other.shape, &other.site),
            "{}\n{}",
            one.shape_text,
            other.shape_text
        );
        assert!(one.shape.starts_with("v1:") && one.shape != one.site);
        assert!(!one.shape_text.contains("3.11") && !one.shape_text.contains("1f0c"), "{}", one.shape_text);
    }

    #[test]
    fn another_function_is_another_site_and_another_graph_another_shape() {
        let one = of(&hang(10, &[11], 900, "emit"));
        let elsewhere = of(&hang(10, &[11], 900, "log"));
        assert_eq!(one.shape, elsewhere.shape);
        assert_ne!(one.site, elsewhere.site);
        let mut stderr = hang(10, &[11], 900, "emit");
        stderr.edges[0].via = "fd 2".into();
        assert_ne!(one.shape, of(&stderr).shape);
        let mut class = hang(10, &[11], 900, "emit");
        class.class = Class::FileLock;
        assert_ne!(one.shape, of(&class).shape);
    }

    #[test]
    fn the_title_names_the_programs_and_their_calls() {
        assert_eq!(of(&hang(10, &[11], 900, "emit")).title, "pipe-full: python in write(fd 1), run in wait4");
    }
}
