//! From cases to the parts of a finding (parties, resources, edges), and the graph of the scope.

use std::collections::{BTreeMap, BTreeSet};

use super::case::Case;
use super::model::{
    Edge, End, Graph, Node, NodeKind, NodeState, Party, Resource, ResourceKind, ResourceRef, Role,
};
use super::view::View;
use crate::core::evidence::{ObjectFacts, ObjectId, PtySide, Scope};
use crate::core::redact;
use crate::core::waitgraph::{Alternative, Liveness, Op, Releaser, ThreadKey};

/// The most nodes of a graph: a larger one is not readable.
const MOST_NODES: usize = 400;

/// A thread's node id.
pub fn node_id(view: &View<'_>, key: ThreadKey) -> String {
    format!(
        "{}/{}",
        view.process(key.process).id.tgid,
        view.process(key.process).threads.get(key.thread).map_or(0, |t| t.tid)
    )
}

/// A process in a role.
pub fn party(view: &View<'_>, role: Role, key: ThreadKey) -> Party {
    let process = view.process(key.process);
    let thread = process.threads.get(key.thread);
    Party {
        role,
        pid: process.id.tgid,
        tid: thread.map_or(process.id.tgid, |t| t.tid),
        start_ticks: process.id.start_ticks,
        comm: process.comm.printable(),
        cmdline: process.cmdline.as_deref().map(redact::argv).unwrap_or_default(),
        waits_in: thread.and_then(|_| view.waits_in(key)),
        at: thread.and_then(|thread| super::code::place(process, thread)),
        test: view.test(key.process).map(str::to_owned),
        session: match &view.evidence().scope {
            Scope::Session(id) if process.in_scope => Some(id.clone()),
            _ => None,
        },
    }
}

/// The parties of a case: the waiters at the resource, the processes that could let them continue, and the
/// processes that are blocked behind them.
pub fn parties(view: &View<'_>, case: &Case) -> Vec<Party> {
    let mut seen = BTreeSet::new();
    let mut out = Vec::new();
    let mut add = |role: Role, key: ThreadKey| {
        if seen.insert((role, key.process)) {
            out.push(party(view, role, key));
        }
    };
    for key in &case.waiters {
        add(Role::Waiter, *key);
    }
    for at in &case.holders {
        let stuck = case.members.iter().copied().find(|key| key.process == *at);
        add(Role::Holder, stuck.unwrap_or_else(|| view.face(*at)));
    }
    // In a cycle each party waits for the next. All are named, except pool threads beside a blocked one.
    for key in &case.members {
        add(Role::Waiter, *key);
    }
    for key in &case.members {
        for alternative in &view.graph.node(*key).alternatives {
            let holds = alternative.op != Op::Exit && alternative.op != Op::Futex;
            for to in alternative
                .conditions
                .iter()
                .flat_map(|r| &r.releasers)
                .filter(|_| holds)
                .flat_map(|a| view.graph.threads_of(a))
            {
                if case.members.contains(&to) {
                    add(Role::Holder, to);
                }
            }
        }
    }
    for key in &case.upstream {
        let holds_too = case.holders.contains(&key.process);
        if view.process(key.process).in_scope || holds_too {
            add(Role::Waiter, *key);
        }
    }
    out
}

/// The resources of a case, the waiter's first.
pub fn resources(view: &View<'_>, case: &Case) -> Vec<Resource> {
    let mut seen = BTreeSet::new();
    let mut out = Vec::new();
    let main = case.alternative(view);
    let others = case.members.iter().flat_map(|key| &view.graph.node(*key).alternatives);
    for alternative in std::iter::once(main).chain(others) {
        if let Some(id) = alternative.object
            && seen.insert(id)
        {
            out.push(resource(view, &id));
        }
    }
    out
}

/// A resource as the report lists it.
pub fn resource(view: &View<'_>, id: &ObjectId) -> Resource {
    let ends = |id: &ObjectId, reads: bool| -> Vec<End> {
        let mut ends: Vec<End> = view
            .graph
            .index
            .holders(id)
            .iter()
            .filter(|h| if reads { h.fd.access.reads() } else { h.fd.access.writes() })
            .map(|h| {
                let id = view.process(h.process).id;
                End { pid: id.tgid, start_ticks: id.start_ticks, fd: h.fd.number }
            })
            .collect();
        ends.sort();
        ends
    };
    let mut out = Resource {
        reference: resource_ref(view, id),
        used: None,
        capacity: None,
        slots_used: None,
        slots: None,
        readers: ends(id, true),
        writers: ends(id, false),
    };
    match view.facts(id) {
        ObjectFacts::Pipe(f) => {
            (out.used, out.capacity) = (f.used_bytes, f.capacity_bytes);
            (out.slots_used, out.slots) = (f.slots_used, f.slots);
        }
        ObjectFacts::Unix(f) => {
            (out.used, out.capacity) = (f.send_queue, f.send_buffer);
            if let Some(ino) = f.peer.filter(|ino| *ino != 0) {
                out.readers = ends(&ObjectId::Unix { ino }, true);
            }
        }
        ObjectFacts::Inet(f) => {
            out.used = f.send_queue;
            if let Some(ino) = f.peer.filter(|ino| *ino != 0) {
                out.readers = ends(&ObjectId::Inet { ino }, true);
            }
        }
        _ => {}
    }
    if let ObjectId::Pty { index, side } = *id {
        let other = if side == PtySide::Slave { PtySide::Master } else { PtySide::Slave };
        out.readers = ends(&ObjectId::Pty { index, side: other }, true);
    }
    out
}

/// An object by kind and name.
pub fn resource_ref(view: &View<'_>, id: &ObjectId) -> ResourceRef {
    ResourceRef { kind: kind(id), id: view.object_name(id) }
}

fn kind(id: &ObjectId) -> ResourceKind {
    match id {
        ObjectId::Pipe { .. } => ResourceKind::Pipe,
        ObjectId::Fifo { .. } => ResourceKind::Fifo,
        ObjectId::Unix { .. } => ResourceKind::UnixSocket,
        ObjectId::Inet { .. } => ResourceKind::IpSocket,
        ObjectId::Socket { .. } => ResourceKind::Socket,
        ObjectId::Pty { .. } => ResourceKind::Pty,
        ObjectId::Tty { .. } => ResourceKind::Tty,
        ObjectId::File { .. } => ResourceKind::File,
        ObjectId::Device { .. } => ResourceKind::Device,
        ObjectId::Anon { .. } => ResourceKind::Anonymous,
        ObjectId::MessageQueue { .. } => ResourceKind::MessageQueue,
        ObjectId::SysVSem { .. } => ResourceKind::SysvSemaphore,
        ObjectId::SysVMsg { .. } => ResourceKind::SysvQueue,
        ObjectId::Unknown => ResourceKind::Unknown,
    }
}

/// The edges of a thread's alternatives: to the resource, and from it to the processes that could act.
/// Without a resource the edges lead straight to them.
fn edges_of(view: &View<'_>, key: ThreadKey, alternatives: &[&Alternative]) -> Vec<Edge> {
    let mut out = Vec::new();
    for alternative in alternatives {
        let from = node_id(view, key);
        let op = alternative.op.word().to_owned();
        let via = match (alternative.fd, alternative.op) {
            (Some(fd), _) => format!("fd {fd}"),
            (None, Op::Exit) => "child".to_owned(),
            (None, _) => alternative.op.word().to_owned(),
        };
        let source = match &alternative.object {
            Some(id) => {
                let name = view.object_name(id);
                out.push(Edge { from, to: name.clone(), via, op: op.clone() });
                name
            }
            None => from,
        };
        for releaser in alternative.conditions.iter().flat_map(|r| &r.releasers) {
            let (to, via) = match releaser {
                Releaser::Process { process, .. } => {
                    (node_id(view, view.face(*process)), held_by(view, *process, alternative))
                }
                Releaser::Thread(key) => (node_id(view, *key), "thread".to_owned()),
                Releaser::Peers(process) => (node_id(view, view.face(*process)), "memory".to_owned()),
                Releaser::Outside(who) => (who.to_string(), "outside".to_owned()),
                Releaser::Anyone(_) | Releaser::Unseen(_) => continue,
            };
            // After the resource comes the requested act: a blocked write asks for a read.
            let op = match alternative.op {
                _ if alternative.object.is_none() => op.clone(),
                Op::Write => "read".to_owned(),
                Op::Read | Op::ReadTerminal => "write".to_owned(),
                Op::Lock => "unlock".to_owned(),
                Op::Connect => "accept".to_owned(),
                _ => op.clone(),
            };
            out.push(Edge { from: source.clone(), to, via, op });
        }
    }
    out
}

fn held_by(view: &View<'_>, process: usize, alternative: &Alternative) -> String {
    let Some(id) = &alternative.object else {
        return if alternative.op == Op::Exit { "child".to_owned() } else { "memory".to_owned() };
    };
    let peer = match (id, view.facts(id)) {
        (ObjectId::Pty { index, side }, _) => Some(ObjectId::Pty {
            index: *index,
            side: if *side == PtySide::Slave { PtySide::Master } else { PtySide::Slave },
        }),
        (_, ObjectFacts::Unix(f)) => f.peer.map(|ino| ObjectId::Unix { ino }),
        (_, ObjectFacts::Inet(f)) => f.peer.map(|ino| ObjectId::Inet { ino }),
        _ => None,
    };
    let wanted = |fd: &crate::core::evidence::Fd| match alternative.op {
        Op::Write => fd.access.reads(),
        Op::Read | Op::ReadTerminal => fd.access.writes(),
        _ => true,
    };
    let fd = peer.and_then(|p| view.fd_on(process, &p, wanted)).or_else(|| view.fd_on(process, id, wanted));
    fd.map_or_else(|| "holder".to_owned(), |fd| format!("fd {}", fd.number))
}

/// The chain of a case, link by link, from the wait that explains it.
pub fn edges(view: &View<'_>, case: &Case) -> Vec<Edge> {
    let mut out: Vec<Edge> = Vec::new();
    let mut add = |edges: Vec<Edge>| {
        for edge in edges {
            if !out.contains(&edge) {
                out.push(edge);
            }
        }
    };
    for key in &case.waiters {
        let alternatives = &view.graph.node(*key).alternatives;
        let main = case.alternative(view);
        let same: Vec<&Alternative> =
            alternatives.iter().filter(|w| w.op == main.op && w.object == main.object).collect();
        add(edges_of(view, *key, &same));
    }
    for key in case.members.iter().chain(&case.upstream) {
        let alternatives: Vec<&Alternative> = view.graph.node(*key).alternatives.iter().collect();
        add(edges_of(view, *key, &alternatives));
    }
    out
}

/// Everything that waits in the scope, and the parties that it waits for.
pub fn graph(view: &View<'_>) -> Graph {
    let mut nodes: BTreeMap<String, Node> = BTreeMap::new();
    let mut edges: Vec<Edge> = Vec::new();
    let mut todo: Vec<ThreadKey> = view
        .graph
        .index
        .threads()
        .filter(|key| view.process(key.process).in_scope && !view.graph.node(*key).alternatives.is_empty())
        .collect();
    // What hangs comes first, so that a big machine's graph keeps it.
    todo.sort_by_key(|key| (view.graph.thread(*key), *key));
    todo.reverse();
    let mut seen: BTreeSet<ThreadKey> = BTreeSet::new();
    while let Some(key) = todo.pop() {
        if nodes.len() >= MOST_NODES || !seen.insert(key) {
            continue;
        }
        nodes.entry(node_id(view, key)).or_insert_with(|| thread_node(view, key));
        let alternatives: Vec<&Alternative> = view.graph.node(key).alternatives.iter().collect();
        for alternative in &alternatives {
            if let Some(id) = &alternative.object {
                let name = view.object_name(id);
                nodes.entry(name.clone()).or_insert_with(|| Node {
                    label: format!("{} {name}", kind(id).id()),
                    id: name,
                    kind: NodeKind::Resource,
                    state: None,
                });
            }
            for releaser in alternative.conditions.iter().flat_map(|r| &r.releasers) {
                match releaser {
                    Releaser::Process { process, .. } => {
                        let face = view.face(*process);
                        nodes.entry(node_id(view, face)).or_insert_with(|| thread_node(view, face));
                        if view.graph.thread(face) <= Liveness::Orphaned {
                            todo.push(face);
                        }
                    }
                    Releaser::Thread(to) => todo.push(*to),
                    Releaser::Peers(process) => todo.push(view.face(*process)),
                    Releaser::Outside(who) => {
                        let name = who.to_string();
                        nodes.entry(name.clone()).or_insert_with(|| Node {
                            label: name.clone(),
                            id: name,
                            kind: NodeKind::Outside,
                            state: Some(NodeState::External),
                        });
                    }
                    Releaser::Anyone(_) | Releaser::Unseen(_) => {}
                }
            }
        }
        for edge in edges_of(view, key, &alternatives) {
            if !edges.contains(&edge) {
                edges.push(edge);
            }
        }
    }
    edges.retain(|edge| nodes.contains_key(&edge.from) && nodes.contains_key(&edge.to));
    Graph { nodes: nodes.into_values().collect(), edges }
}

fn thread_node(view: &View<'_>, key: ThreadKey) -> Node {
    let process = view.process(key.process);
    let mut label = view.label(key.process);
    if let Some(thread) = process.threads.get(key.thread) {
        if thread.tid != process.id.tgid {
            label = format!("{label}, thread {}", thread.tid);
        }
        if let Some(call) = view.waits_in(key) {
            label = format!("{label}: {call}");
        }
    }
    Node {
        id: node_id(view, key),
        kind: NodeKind::Thread,
        label,
        state: process.threads.get(key.thread).map(|_| view.state(key)),
    }
}
