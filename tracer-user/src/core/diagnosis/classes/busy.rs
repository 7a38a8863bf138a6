//! `livelock` and `polling-sleep`: things that move and may get nowhere. Movement is progress as far as anybody can see, so neither is called hung.

use crate::core::diagnosis::class::Class;
use crate::core::diagnosis::model::{Confidence, Finding, Role, Verdict};
use crate::core::diagnosis::output;
use crate::core::diagnosis::view::View;
use crate::core::evidence::{ThreadState, Timeout, Wait};
use crate::core::waitgraph::{Hope, ThreadKey};

pub(super) fn look(view: &View<'_>, _found: &[Finding]) -> Vec<Finding> {
    let scope: Vec<ThreadKey> = view
        .graph
        .index
        .threads()
        .filter(|key| view.process(key.process).in_scope && !view.graph.standing(*key).dead)
        .collect();
    let mut out: Vec<Finding> = scope.iter().filter_map(|key| livelock(view, *key)).collect();
    out.extend(polling(view, &scope));
    out
}

/// One system call over and over on a whole CPU.
fn livelock(view: &View<'_>, key: ThreadKey) -> Option<Finding> {
    let thread = view.thread(key);
    let progress = thread.progress?;
    let window = view.evidence().clock.quiet_window_ns;
    let call = thread.syscall.as_ref()?;
    let whole = window > 0 && progress.cpu_ns >= window / 10 * 9;
    if !whole || !progress.same_call || thread.state != ThreadState::Running {
        return None;
    }
    let name = call.name.clone().unwrap_or_else(|| format!("system call {}", call.nr));
    let mut finding = Finding::told(
        Class::Livelock,
        Verdict::NotHung,
        Confidence::Likely,
        format!(
            "{} uses a whole CPU and was in the same call, {name}({:#x}), whenever it was looked at: it may be a busy loop.",
            view.label(key.process),
            call.args[0]
        ),
    );
    finding.processes = vec![output::party(view, Role::Waiter, key)];
    finding.advice = vec![
        "Handle the end of file (read returns 0) and EAGAIN: leave the loop, or wait with poll until there is something.".to_owned(),
    ];
    Some(finding)
}

/// All that moves in the scope sleeps for a moment, looks, and sleeps again.
fn polling(view: &View<'_>, scope: &[ThreadKey]) -> Option<Finding> {
    let window = view.evidence().clock.quiet_window_ns;
    let moving: Vec<ThreadKey> =
        scope.iter().copied().filter(|key| view.thread(*key).moved == Some(true)).collect();
    let naps = |key: &ThreadKey| {
        let thread = view.thread(*key);
        let short =
            matches!(thread.wait, Wait::Sleep { timeout: Timeout::After(Some(ns)) } if ns < 10_000_000_000);
        short && thread.progress.is_some_and(|p| window > 0 && p.cpu_ns < window / 50 && p.switches <= 20)
    };
    let others_rest = scope
        .iter()
        .all(|key| view.graph.thread(*key) <= Hope::Waiting || naps(key) || leads_to_naps(view, *key));
    if moving.is_empty() || !moving.iter().all(naps) || !others_rest {
        return None;
    }
    let key = moving[0];
    let mut finding = Finding::told(
        Class::PollingSleep,
        Verdict::NotHung,
        Confidence::Likely,
        format!(
            "All that moves in this job is {}, which sleeps, looks at something, and sleeps again: it waits for a condition that no system call shows.",
            view.label(key.process)
        ),
    );
    finding.processes = moving.iter().map(|key| output::party(view, Role::Waiter, *key)).collect();
    finding.advice = vec![
        "See what it looks at (`strace -p`), and bound the loop: a time-out that says what was waited for."
            .to_owned(),
    ];
    Some(finding)
}

/// It waits, and its hope is another's movement.
fn leads_to_naps(view: &View<'_>, key: ThreadKey) -> bool {
    view.thread(key).moved == Some(false) && !view.graph.standing(key).ways.is_empty()
}
