//! From evidence to findings: a pure function.
//!
//! [`diagnose`] builds the [`WaitGraph`](crate::core::waitgraph::WaitGraph), derives the waits that explain
//! the others ([`case`]), lets the classes judge them (`classes`, one file each) and makes the parts of a
//! report (`sentence`, `findings`). Where nothing hangs, `rest` reports what the job waits for from outside.
//! The wait tree (`wait_tree`) is made from the evidence alone, whatever the verdict.
//!
//! Invariants: a verdict of `deadlock` needs that every party which could release the waiter is itself stuck.
//! Less evidence never makes a graver verdict (a party that cannot be seen makes `external` or `unknown` of a
//! deadlock). Nothing is found by a name alone. `not-hung` requires observed progress.

pub mod case;
mod cases;
mod class;
mod classes;
mod code;
mod deaths;
mod findings;
mod fingerprint;
mod ignored_pipe;
mod judge;
mod model;
mod named;
mod relieve;
mod rest;
mod ruled_out;
mod sentence;
mod short_waits;
mod view;
mod wait_tree;

#[cfg(test)]
pub(crate) mod testkit;
#[cfg(test)]
mod tests;

pub use class::Class;
pub use model::{
    ChildDeath, CodePlace, Confidence, Diagnosis, Edge, End, Finding, Fingerprint, Frame, Graph, Halted,
    Holder, HostInfo, Node, NodeKind, NodeState, Party, ProcessWaits, Progressing, RelieveStep, Resource,
    ResourceKind, ResourceRef, Role, RuledOut, SCHEMA, ScopeInfo, ThreadActivity, ThreadWaits, Verdict,
    WaitTree,
};
pub use named::{NamedThread, named_threads};
pub use short_waits::decided_after;

use case::Case;
use judge::Judgement;
use view::View;

use super::evidence::{Evidence, Scope};

/// The most processes with progress that are named.
const MOST_PROGRESS: usize = 8;

/// Explains what hangs in the evidence's scope, or why nothing does.
pub fn diagnose(evidence: &Evidence) -> Diagnosis {
    let view = View::new(evidence);
    let cases = cases::cases(&view);
    let (mut findings, hung) = found(&view, &cases);
    let progress = rest::progressing(&view);
    if progress.is_empty() && !findings.iter().any(|f| f.verdict > Verdict::Idle) {
        findings.extend(rest::look(&view));
    }
    let gravest = findings.iter().map(|f| f.verdict).max().unwrap_or_default();
    let waits = wait_tree::wait_tree(&view);
    let hang = findings.iter().find(|finding| finding.verdict == gravest && gravest.is_hang());
    let host = &evidence.host;
    Diagnosis {
        schema: SCHEMA.to_owned(),
        taken_at: timestamp(evidence.clock.taken_at_unix_ns),
        boot_ns: evidence.clock.boot_ns,
        host: HostInfo {
            boot_id: host.boot_id.clone(),
            kernel: host.kernel.as_ref().map(|n| n.printable()),
            hostname: host.hostname.as_ref().map(|n| n.printable()),
        },
        kernel_events: evidence.kernel_events,
        calls_counted: evidence.processes.iter().flat_map(|p| &p.threads).any(|t| t.calls.is_some()),
        scope: match &evidence.scope {
            Scope::All => ScopeInfo { all: Some(true), ..ScopeInfo::default() },
            Scope::Tree(id) => ScopeInfo { pid: Some(id.tgid), ..ScopeInfo::default() },
            Scope::Session(id) => ScopeInfo { session: Some(id.clone()), ..ScopeInfo::default() },
        },
        quiet_window_ms: evidence.clock.quiet_window_ns / 1_000_000,
        verdict: gravest,
        progress: progress
            .iter()
            .take(MOST_PROGRESS)
            .map(|at| Progressing { pid: view.process(*at).id.tgid, title: view::title(view.process(*at)) })
            .collect(),
        fingerprint: hang.map(|finding| fingerprint::fingerprint(finding, &waits)),
        waits,
        relieve: relieve::plan(&view, hung.iter().map(|at| &cases[*at])),
        ruled_out: ruled_out::all(&view, &findings),
        problems: problems(evidence),
        graph: findings::graph(&view),
        findings,
    }
}

/// The findings, gravest first, roots before the findings that follow from them, otherwise in the order of
/// the evidence; and which of the cases are hangs.
fn found(view: &View<'_>, cases: &[Case]) -> (Vec<Finding>, Vec<usize>) {
    let mut findings: Vec<(Option<usize>, Finding)> = Vec::new();
    for (at, case) in cases.iter().enumerate() {
        // A service at rest is not a hang. What it waits for is reported where nothing else is found.
        if judge::service_at_rest(view, case).is_some() {
            continue;
        }
        let judgement = classes::judge(view, case).filter(|j| j.verdict > Verdict::Idle);
        if let Some(judgement) = judgement {
            findings.push((Some(at), finding(view, case, &judgement)));
        }
    }
    let sure: Vec<Finding> = findings.iter().map(|(_, f)| f.clone()).collect();
    let case_of: Vec<Option<usize>> = findings.iter().map(|(case, _)| *case).collect();
    let hung: Vec<usize> =
        findings.iter().filter(|(_, f)| f.verdict.is_hang()).filter_map(|(case, _)| *case).collect();
    findings.extend(classes::others(view, &sure).into_iter().map(|mut f| {
        f.follows = f.follows.and_then(|at| case_of.get(at).copied().flatten());
        (None, f)
    }));
    findings.sort_by_key(|(_, f)| {
        (std::cmp::Reverse(f.verdict), f.follows.is_some(), std::cmp::Reverse(f.confidence))
    });
    let position: Vec<Option<usize>> =
        (0..cases.len()).map(|at| findings.iter().position(|(case, _)| *case == Some(at))).collect();
    let mut findings: Vec<Finding> = findings
        .into_iter()
        .map(|(_, mut f)| {
            f.follows = f.follows.and_then(|case| position.get(case).copied().flatten());
            f
        })
        .collect();
    if findings.first().is_some_and(|f| f.verdict.is_hang()) {
        // Dead children beside a hang are part of it, not findings of their own.
        let (beside, mut kept): (Vec<Finding>, Vec<Finding>) = findings
            .into_iter()
            .partition(|f| f.class == Class::UnreapedChild && f.verdict == Verdict::NotHung);
        if let Some(gravest) = kept.first_mut() {
            gravest.notes.extend(beside.into_iter().map(|f| f.summary));
            gravest.notes.extend(last_failed(view));
        }
        findings = kept;
    }
    (findings, hung)
}

fn finding(view: &View<'_>, case: &Case, judgement: &Judgement) -> Finding {
    Finding {
        class: judgement.class,
        subtype: judgement.subtype.map(str::to_owned),
        verdict: judgement.verdict,
        confidence: judgement.confidence,
        summary: sentence::of(view, case, judgement),
        since_boot_ns: view.since(case.waiter),
        blocked_ms: view.blocked_ns(case.waiter).map(|ns| ns / 1_000_000),
        ends_at: ends_at(view, case),
        processes: findings::parties(view, case),
        resources: findings::resources(view, case),
        edges: findings::edges(view, case),
        notes: judgement.notes.clone(),
        advice: judgement.advice.clone(),
        go_on: judgement.go_on.clone(),
        follows: case.follows,
    }
}

/// The date at which a wait of the case ends by itself: the nearest.
fn ends_at(view: &View<'_>, case: &Case) -> Option<String> {
    let stuck = case.waiters.iter().chain(&case.members);
    let ns = stuck.filter_map(|key| view.graph.node(*key).ends_in_ns).min()?;
    wait_tree::date(view.evidence().clock.taken_at_unix_ns, ns)
}

/// Lines about earlier runs, from the runners' own records.
fn last_failed(view: &View<'_>) -> Vec<String> {
    let runners = view.evidence().last_failed.iter().filter_map(|last| {
        let at = view.graph.index.by_tgid(last.process.tgid)?;
        let tests: Vec<String> = last.tests.iter().map(|test| test.printable()).collect();
        Some(format!(
            "{} keeps as failed last time (.pytest_cache/v/cache/lastfailed): {}.",
            view.label(at),
            crate::core::text::list(&tests)
        ))
    });
    runners.collect()
}

fn timestamp(unix_ns: i64) -> String {
    super::time::rfc3339(unix_ns).unwrap_or_default()
}

fn problems(evidence: &Evidence) -> Vec<String> {
    let mut out: Vec<String> = evidence
        .problems
        .iter()
        .map(|p| match p.process {
            Some(id) => format!("pid {}: {}: {}", id.tgid, p.what, p.why),
            None => format!("{}: {}", p.what, p.why),
        })
        .collect();
    if evidence.clock.quiet_window_ns == 0 && !evidence.processes.is_empty() {
        out.push("quiet window: one sample only, so nothing can be said about progress".to_owned());
    }
    for process in evidence.processes.iter().filter(|p| p.in_scope) {
        for unread in &process.unread {
            out.push(format!("pid {}: {}: {}", process.id.tgid, unread.what, unread.why));
        }
    }
    out.dedup();
    out
}
