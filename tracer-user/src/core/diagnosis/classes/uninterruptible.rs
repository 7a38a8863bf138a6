//! `uninterruptible`: a sleep in the kernel (state D) that no signal ends: a disk, a network file system, a
//! driver.

use crate::core::diagnosis::case::{Case, Shape};
use crate::core::diagnosis::class::Class;
use crate::core::diagnosis::judge::Judgement;
use crate::core::diagnosis::view::View;
use crate::core::evidence::ThreadState;
use crate::core::signal::Signal;
use crate::core::signal::SignalSet;
use crate::core::waitgraph::Op;

pub(super) fn judge(view: &View<'_>, case: &Case) -> Option<Judgement> {
    let thread = view.thread(case.waiter);
    if case.shape != Shape::Outside || case.alternative(view).op != Op::Kernel {
        return None;
    }
    let mut judgement = Judgement::of(view, case, Class::Uninterruptible);
    judgement.because = Some(
        "what it waits for is up to the kernel: a disk, a server of its file system, or a driver".to_owned(),
    );
    let process = view.process(case.waiter.process);
    let killed = |set: Option<SignalSet>| set.is_some_and(|set| set.contains(Signal::KILL));
    if thread.state == ThreadState::Uninterruptible {
        judgement.note("State D: no signal is delivered before the kernel's wait ends.");
    }
    if killed(process.shared_pending) || killed(thread.pending) {
        judgement.note("SIGKILL is pending already: it dies as soon as the wait ends.");
    }
    Some(
        judgement
            .advise(&[
                "Look at the file system's server (NFS, FUSE) or the device: `dmesg`, `cat /proc/PID/stack` as root.",
                "Mount network file systems with time-outs (`soft`), and keep tests off them.",
            ])
            .or_now(&["Abort a FUSE file system (`/sys/fs/fuse/connections/N/abort`), `umount -f` an NFS one: the call then fails."]),
    )
}
