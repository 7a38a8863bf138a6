//! From evidence to findings: a pure function.
//!
//! [`diagnose`] builds the [`WaitGraph`](crate::core::waitgraph::WaitGraph), reads the waits off it that explain the others ([`case`]), lets the
//! classes judge them ([`classes`], a class a file) and writes down what a reader needs ([`story`], [`output`]).
//!
//! What must never be true: a verdict of `deadlock` while any party that could release the waiter can go on; a graver verdict from less evidence (a party that
//! cannot be seen makes an `external` of a deadlock); a finding from a name alone.

pub mod case;
mod class;
mod classes;
mod findings;
mod ignored_pipe;
mod judge;
mod model;
mod ruled_out;
mod sentence;
mod view;

#[cfg(test)]
pub(crate) mod testkit;
#[cfg(test)]
mod tests;

pub use class::Class;
pub use model::{
    Confidence, Diagnosis, Edge, End, Finding, Graph, HostInfo, Node, Party, Resource, Role, SCHEMA,
    ScopeInfo, Verdict,
};

use case::Case;
use judge::Judgement;
use view::View;

use super::evidence::{Evidence, Scope};

/// Explains what hangs in the evidence's scope, or says that nothing does.
pub fn diagnose(evidence: &Evidence) -> Diagnosis {
    let view = View::new(evidence);
    let cases = case::cases(&view);
    let judged: Vec<Option<Judgement>> = cases.iter().map(|case| classes::judge(&view, case)).collect();
    let mut findings: Vec<(Option<usize>, Finding)> = Vec::new();
    for (at, (case, judgement)) in cases.iter().zip(&judged).enumerate() {
        if let Some(judgement) = judgement.as_ref().filter(|j| j.verdict != Verdict::NotHung) {
            findings.push((Some(at), finding(&view, case, judgement)));
        }
    }
    let sure: Vec<Finding> = findings.iter().map(|(_, f)| f.clone()).collect();
    let case_of: Vec<Option<usize>> = findings.iter().map(|(case, _)| *case).collect();
    findings.extend(classes::others(&view, &sure).into_iter().map(|mut f| {
        f.follows = f.follows.and_then(|at| case_of.get(at).copied().flatten());
        (None, f)
    }));
    // Gravest first, roots before what follows from them; otherwise in the order of the evidence.
    findings.sort_by_key(|(_, f)| {
        (std::cmp::Reverse(f.verdict), f.follows.is_some(), std::cmp::Reverse(f.confidence))
    });
    let position: Vec<Option<usize>> =
        (0..cases.len()).map(|at| findings.iter().position(|(case, _)| *case == Some(at))).collect();
    let findings: Vec<Finding> = findings
        .into_iter()
        .map(|(_, mut f)| {
            f.follows = f.follows.and_then(|case| position.get(case).copied().flatten());
            f
        })
        .collect();
    let mut findings = findings;
    if let Some(gravest) = findings.first_mut().filter(|f| f.verdict.is_hang()) {
        gravest.notes.extend(last_failed(&view));
    }
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
        scope: match &evidence.scope {
            Scope::All => ScopeInfo { all: Some(true), ..ScopeInfo::default() },
            Scope::Tree(id) => ScopeInfo { pid: Some(id.tgid), ..ScopeInfo::default() },
            Scope::Session(id) => ScopeInfo { session: Some(id.clone()), ..ScopeInfo::default() },
        },
        quiet_window_ms: evidence.clock.quiet_window_ns / 1_000_000,
        verdict: findings.iter().map(|f| f.verdict).max().unwrap_or_default(),
        refuted: ruled_out::lines(&view, &findings),
        problems: problems(evidence),
        graph: findings::graph(&view),
        findings,
    }
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
        processes: findings::parties(view, case),
        resources: findings::resources(view, case),
        edges: findings::edges(view, case),
        notes: judgement.notes.clone(),
        advice: judgement.advice.clone(),
        go_on: judgement.go_on.clone(),
        follows: case.follows,
    }
}

/// What the runners' own records say of earlier runs: a line each.
fn last_failed(view: &View<'_>) -> Vec<String> {
    let runners = view.evidence().last_failed.iter().filter_map(|last| {
        let at = view.graph.index.by_tgid(last.process.tgid)?;
        let tests: Vec<String> = last.tests.iter().map(|test| test.printable()).collect();
        Some(format!(
            "{} keeps as failed last time (.pytest_cache/v/cache/lastfailed): {}.",
            view.label(at),
            sentence::list(&tests)
        ))
    });
    runners.collect()
}

fn timestamp(unix_ns: i64) -> String {
    jiff::Timestamp::from_nanosecond(i128::from(unix_ns)).map_or_else(|_| String::new(), |t| t.to_string())
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
