//! `unix-socket-full`: a writer blocked on a UNIX socket whose peer's owner does not read, or a connect to a
//! listener whose backlog is full.

use crate::core::diagnosis::case::Case;
use crate::core::diagnosis::class::Class;
use crate::core::diagnosis::judge::Judgement;
use crate::core::diagnosis::view::View;
use crate::core::evidence::ObjectId;
use crate::core::waitgraph::Op;

pub(super) fn judge(view: &View<'_>, case: &Case) -> Option<Judgement> {
    let alternative = case.alternative(view);
    alternative.object.filter(|id| matches!(id, ObjectId::Unix { .. }))?;
    if !matches!(alternative.op, Op::Write | Op::Connect) {
        return None;
    }
    let mut judgement = Judgement::of(view, case, Class::UnixSocketFull);
    let advice: &[&str] = if alternative.op == Op::Connect {
        judgement.subtype = Some("backlog");
        &["The listener has to accept: its queue of connections is full, or no thread serves it."]
    } else {
        judgement.note("Node.js gives its children UNIX socket pairs where other runtimes give pipes: both fill up in the same way.");
        &[
            "Read from the peer while waiting for the exit, as with a pipe: attach a 'data' handler or call `resume()` on the stream in Node.js, `communicate()` in Python.",
            "Or give the child a file, or `stdio: 'ignore'`, where nobody wants its output.",
        ]
    };
    Some(judgement.advise(advice).or_now(&[
        "Nothing enlarges a socket's buffer from outside: let the owner of the other end read, or end one of the two.",
    ]))
}
