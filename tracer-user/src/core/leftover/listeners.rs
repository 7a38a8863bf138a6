//! Listening ports and sockets: left by an earlier run, in the way of the next, or only noted.

use super::files::pattern_of;
use super::judge::{age, keys, named, owner_of};
use super::ownership::Judge;
use super::scene::{Listener, PreflightRequest, Proc};
use super::{LeftoverFinding, LeftoverKind, LeftoverProcess, LeftoverStatus, Ownership};

/// What is to be said of a listener.
struct ListenerVerdict {
    status: LeftoverStatus,
    sentence: String,
    command: Option<String>,
}

impl Judge<'_> {
    /// The finding about a listener; `None` when it is not in the way.
    pub(super) fn listener(
        &self,
        listener: &Listener,
        request: &PreflightRequest,
    ) -> Option<LeftoverFinding> {
        // A port of another network namespace is not in the way here.
        let here = listener.namespace.is_none();
        let requested =
            listener.asked || here && listener.port.is_some_and(|port| request.ports.contains(&port));
        let holders: Vec<&Proc> = listener
            .holders
            .iter()
            .filter_map(|id| self.by_pid.get(&id.tgid).copied())
            .filter(|it| listener.holders.contains(&it.id))
            .collect();
        let processes: Vec<_> = holders.iter().map(|it| self.describe(it)).collect();
        let left = holders.iter().position(|it| self.left.contains_key(&it.id));
        let place = listener.namespace.as_ref().map_or_else(String::new, |it| format!(" in {it}"));
        let what = match (listener.port, &listener.path) {
            (Some(port), _) => format!("port {port} ({} {}){place}", listener.protocol, listener.address),
            (None, _) => format!("socket {}{place}", listener.address),
        };
        // What `reap` can free it by: the port, or the name of a requested socket.
        let port = listener.port.filter(|_| here).map(|port| format!("--port {port}"));
        let asked_path = listener.path.as_ref().filter(|_| listener.asked);
        let by = port.or_else(|| asked_path.map(|path| format!("--socket {}", pattern_of(path))));
        let verdict = match (left.and_then(|at| processes.get(at)), processes.first()) {
            (Some(holder), _) => held_by_leftover(&what, by, holder),
            (None, Some(holder)) => held_by_other(&what, by, holder, requested)?,
            (None, None) if requested => ListenerVerdict {
                status: LeftoverStatus::InUse,
                sentence: format!("{what} is held by a process that cannot be seen from here"),
                command: None,
            },
            (None, None) => return None,
        };
        let session = processes.iter().find_map(|process| match &process.ownership {
            Ownership::Session { session, .. } => Some(session.clone()),
            _ => None,
        });
        Some(LeftoverFinding {
            kind: LeftoverKind::Listener,
            status: verdict.status,
            key: format!("listener {} {}{place} {}", listener.protocol, listener.address, keys(&processes)),
            sentence: verdict.sentence,
            command: verdict.command,
            processes,
            path: listener.path.clone(),
            port: listener.port,
            namespace: listener.namespace.clone(),
            session,
            requested: listener.asked,
            protected: None,
        })
    }
}

fn held_by_leftover(what: &str, by: Option<String>, holder: &LeftoverProcess) -> ListenerVerdict {
    let selection = match &holder.ownership {
        Ownership::Session { session, .. } => format!("--session {session}"),
        _ => by.unwrap_or_else(|| format!("--pid {}", holder.pid)),
    };
    ListenerVerdict {
        status: LeftoverStatus::Left,
        sentence: format!("{what} is held by {}, {}, {}", named(holder), age(holder), owner_of(holder)),
        command: Some(format!("tracer-user reap {selection} --yes")),
    }
}

/// A listener whose holder is not left; `None` when nothing is to be said of it.
fn held_by_other(
    what: &str,
    by: Option<String>,
    holder: &LeftoverProcess,
    requested: bool,
) -> Option<ListenerVerdict> {
    let held = format!("{}, {}", named(holder), age(holder));
    let owner = owner_of(holder);
    let mut command = None;
    let (status, sentence) = match &holder.ownership {
        Ownership::Checkout { .. } if requested => {
            command = by.map(|by| format!("tracer-user reap {by} --yes"));
            (LeftoverStatus::InUse, format!("{what} is held by {held}, {owner}, whose parent still runs"))
        }
        Ownership::Checkout { .. } => (LeftoverStatus::Note, format!("{what} is held by {held}, {owner}")),
        Ownership::Session { session, .. } if requested => (
            LeftoverStatus::InUse,
            format!("{what} is held by {held}, of session {session}, which still runs"),
        ),
        _ if requested => (LeftoverStatus::InUse, format!("{held} also uses {what}; it is not yours")),
        _ => return None,
    };
    Some(ListenerVerdict { status, sentence, command })
}
