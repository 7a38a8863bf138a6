//! The wait-for graph as it is drawn: in words, and with like nodes joined where there are too many to read.

use std::collections::{BTreeMap, BTreeSet};

use super::clip;
use crate::core::diagnosis::{Diagnosis, Edge, Node, NodeKind, NodeState, ThreadWaits};
use crate::core::text::duration;

/// With more nodes than this, like nodes are joined.
const MOST_SEPARATE: usize = 40;
/// Nodes of the first finding stay separate up to this many.
const MOST_PROOF: usize = 20;
/// Nodes of a drawing.
const MOST_NODES: usize = 60;
/// Characters of a line in a node.
const NODE_CHARS: usize = 36;

/// What is drawn.
#[derive(Debug, Default)]
pub struct Drawing {
    /// The nodes.
    pub nodes: Vec<Shown>,
    /// The edges.
    pub links: Vec<Link>,
    /// Nodes that are not drawn.
    pub left_out: usize,
}

/// A node, or several like nodes.
#[derive(Debug)]
pub struct Shown {
    /// Who or what.
    pub title: String,
    /// What it does; empty for a resource of which nothing is known.
    pub words: String,
    /// What it stands for.
    pub kind: NodeKind,
    /// The state of a thread; `None` for a resource.
    pub state: Option<NodeState>,
}

/// An edge between two nodes, by their positions.
#[derive(Debug)]
pub struct Link {
    /// The one that waits.
    pub from: usize,
    /// The one that could end the wait.
    pub to: usize,
    /// Why, in words.
    pub words: String,
    /// It is part of a cycle.
    pub in_cycle: bool,
}

/// The drawing of a diagnosis.
pub fn drawing(diagnosis: &Diagnosis) -> Drawing {
    let nodes = &diagnosis.graph.nodes;
    let joined = nodes.len() > MOST_SEPARATE;
    let proof = proof(diagnosis);
    let mut groups: BTreeMap<String, usize> = BTreeMap::new();
    let mut members: Vec<Vec<&Node>> = Vec::new();
    let mut place: BTreeMap<&str, usize> = BTreeMap::new();
    // The proof comes first, so that a drawing that is cut keeps it.
    let (first, rest): (Vec<&Node>, Vec<&Node>) =
        nodes.iter().partition(|node| proof.contains(node.id.as_str()));
    for node in first.into_iter().chain(rest) {
        let key = match joined && !proof.contains(node.id.as_str()) {
            true => format!("{:?} {:?} {}", node.kind, node.state, without_digits(name(&node.label))),
            false => node.id.clone(),
        };
        let at = *groups.entry(key).or_insert(members.len());
        if at == members.len() {
            members.push(Vec::new());
        }
        members[at].push(node);
        place.insert(&node.id, at);
    }
    let left_out = members.iter().skip(MOST_NODES).map(Vec::len).sum();
    members.truncate(MOST_NODES);
    let mut links = links(&diagnosis.graph.edges, &place, members.len());
    mark_cycles(&mut links, members.len());
    Drawing { nodes: members.iter().map(|like| shown(like, diagnosis)).collect(), links, left_out }
}

/// The nodes of the first finding's chain, when they are few.
fn proof(diagnosis: &Diagnosis) -> BTreeSet<&str> {
    let edges = diagnosis.findings.first().map_or(&[][..], |finding| &finding.edges[..]);
    let mut out = BTreeSet::new();
    for edge in edges {
        let more: BTreeSet<&str> = [edge.from.as_str(), edge.to.as_str()].into();
        if out.len() + more.difference(&out).count() > MOST_PROOF {
            break;
        }
        out.extend(more);
    }
    out
}

fn links(edges: &[Edge], place: &BTreeMap<&str, usize>, count: usize) -> Vec<Link> {
    let mut links: Vec<Link> = Vec::new();
    for edge in edges {
        let (Some(from), Some(to)) = (place.get(edge.from.as_str()), place.get(edge.to.as_str())) else {
            continue;
        };
        if *from >= count || *to >= count {
            continue;
        }
        let words = edge_words(edge);
        match links.iter_mut().find(|link| (link.from, link.to) == (*from, *to)) {
            // Links between two groups are one, named by the first.
            Some(_) => {}
            None => links.push(Link { from: *from, to: *to, words, in_cycle: false }),
        }
    }
    links
}

fn mark_cycles(links: &mut [Link], count: usize) {
    let reach = |start: usize, links: &[Link]| {
        let mut seen = vec![false; count];
        let mut todo = vec![start];
        while let Some(at) = todo.pop() {
            if !std::mem::replace(&mut seen[at], true) {
                todo.extend(links.iter().filter(|link| link.from == at).map(|link| link.to));
            }
        }
        seen
    };
    let reached: Vec<Vec<bool>> = (0..count).map(|start| reach(start, links)).collect();
    for link in links {
        link.in_cycle = reached[link.to][link.from];
    }
}

fn shown(like: &[&Node], diagnosis: &Diagnosis) -> Shown {
    let Some(node) = like.first() else {
        return Shown { title: String::new(), words: String::new(), kind: NodeKind::Outside, state: None };
    };
    let (head, call) = name_and_call(&node.label);
    let thread = thread(&node.id, diagnosis);
    let mut words = match (node.kind, thread) {
        (NodeKind::Resource, _) => fill(&node.id, diagnosis),
        (_, Some(thread)) => {
            let time =
                thread.waited_ms.map_or_else(String::new, |ms| format!(", {}", duration(ms * 1_000_000)));
            let call = if call.is_empty() { &thread.doing } else { call };
            format!("{}{time}", clip(call, NODE_CHARS.saturating_sub(time.chars().count())))
        }
        _ => call.to_owned(),
    };
    let title = match node.kind {
        // A resource's label is its kind and its name, and most names say the kind.
        NodeKind::Resource => node.label.split_once(' ').map_or(head, |(_, name)| name),
        _ => head,
    };
    let mut title = title.to_owned();
    if like.len() > 1 {
        words = format!("such as {title}");
        title = format!("{} × {}", like.len(), without_digits(name(&title)));
    }
    Shown {
        title: clip(&title, NODE_CHARS),
        words: clip(&words, NODE_CHARS),
        kind: node.kind,
        state: node.state,
    }
}

/// The thread that a node stands for: its id is `pid/tid`.
fn thread<'d>(id: &str, diagnosis: &'d Diagnosis) -> Option<&'d ThreadWaits> {
    let (pid, tid) = id.split_once('/')?;
    let (pid, tid): (u32, u32) = (pid.parse().ok()?, tid.parse().ok()?);
    let process = diagnosis.waits.processes.iter().find(|process| process.pid == pid)?;
    process.threads.iter().find(|thread| thread.tid == tid)
}

/// How full a resource is, where a finding says so.
fn fill(id: &str, diagnosis: &Diagnosis) -> String {
    let resource =
        diagnosis.findings.iter().flat_map(|finding| &finding.resources).find(|it| it.reference.id == id);
    match resource.map(|it| (it.used, it.capacity, it.slots_used, it.slots)) {
        Some((Some(used), Some(capacity), ..)) => format!("{used} of {capacity} bytes used"),
        Some((.., Some(used), Some(slots))) => format!("{used} of {slots} slots used"),
        _ => String::new(),
    }
}

/// `helper (pid 103)` and `write(fd 1)` of `helper (pid 103): write(fd 1)`. A name may have a colon of its
/// own.
fn name_and_call(label: &str) -> (&str, &str) {
    let from = label.rfind(" (pid ").unwrap_or(0);
    match label[from..].find(": ") {
        Some(at) => (&label[..from + at], &label[from + at + 2..]),
        None => (label, ""),
    }
}

/// `helper` of `helper (pid 103): write(fd 1)`.
fn name(label: &str) -> &str {
    label.split(" (pid ").next().unwrap_or(label)
}

fn without_digits(text: &str) -> String {
    let mut out = String::new();
    for c in text.chars() {
        match c.is_ascii_digit() {
            true if out.ends_with('…') => {}
            true => out.push('…'),
            false => out.push(c),
        }
    }
    out
}

fn edge_words(edge: &Edge) -> String {
    let from_resource = !is_thread(&edge.from);
    let words = match (from_resource, edge.op.as_str()) {
        (false, "exit") => return "waits for its exit".to_owned(),
        (false, "write") => "blocked writing",
        (false, "read") => "waits to read",
        (false, "lock") => "waits for the lock",
        (false, "futex") => return "waits on shared memory".to_owned(),
        (false, "open") => "waits to open",
        (true, "read") => "read end held by",
        (true, "write") => "write end held by",
        (true, "unlock") => "locked by",
        (true, "accept") => "to be accepted by",
        (false, other) => other,
        (true, _) => "up to",
    };
    match edge.via.as_str() {
        "child" | "memory" | "holder" => words.to_owned(),
        via if is_thread(&edge.to) == is_thread(&edge.from) => format!("{words}: {via}"),
        via => format!("{words} ({via})"),
    }
}

fn is_thread(id: &str) -> bool {
    id.split_once('/').is_some_and(|(pid, tid)| pid.parse::<u32>().is_ok() && tid.parse::<u32>().is_ok())
}
