//! May a session be finished by somebody else than its owner? Evidence in, one judgement with all its reasons out.
//!
//! The gates, in order: is it fresh (a courtesy), is the owner gone (its lock), is it enrolled, is it of this boot, and
//! what became of its root. Only the last three say what to do; each of the others can only say no. Nothing here
//! guesses: what could not be found out is a reason to leave the session where it is.

use super::identity::WaitStatus;
use super::record::ExitSource;
use serde::Serialize;
use std::time::Duration;

/// What was found out about a session.
#[derive(Clone, Debug, PartialEq)]
pub struct Evidence {
    /// Time since something was last written; `None` when the clock makes no sense of it.
    pub age: Option<Duration>,
    /// Its lock.
    pub lock: Lock,
    /// Its sidecar.
    pub enrollment: Enrolled,
    /// Its boot.
    pub boot: Boot,
    /// The pid namespace its numbers are of.
    pub namespace: Namespace,
    /// Its root.
    pub root: RootFate,
}

/// Who has a session's lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Lock {
    /// We have.
    Ours,
    /// Its owner has, or another process that is finishing it.
    Held,
    /// It could not be tried.
    Unknown,
}

/// What the sidecar is worth.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Enrolled {
    /// It is ours, safe and readable.
    Yes,
    /// There is none.
    No,
    /// It is not what a sidecar has to be.
    Unsafe(String),
    /// It is not understood.
    Unreadable(String),
}

/// Whether a session is of this boot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Boot {
    /// It is.
    Same,
    /// It is not.
    Other,
    /// One of the boot ids is not known.
    Unknown,
}

/// Whether a session's process numbers mean anything here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Namespace {
    /// They do.
    Same,
    /// They are of another pid namespace.
    Other,
    /// One of the namespaces is not known.
    Unknown,
    /// The layout does not say; its user asked for it all the same.
    Unsaid,
}

/// What became of a root.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum RootFate {
    /// It ended.
    Ended {
        /// How; `None` when nobody saw it.
        status: Option<WaitStatus>,
        /// When, CLOCK_BOOTTIME nanoseconds; `None` when nobody saw it.
        boot_ns: Option<u64>,
        /// Who says so.
        source: ExitSource,
    },
    /// It runs.
    Runs {
        /// Who says so.
        source: ExitSource,
    },
    /// It could not be found out, and why.
    Unknown(String),
}

impl RootFate {
    /// The kernel's own record, which needs no process number of this namespace.
    fn is_kernels(&self) -> bool {
        matches!(self, Self::Ended { source, .. } | Self::Runs { source } if *source == ExitSource::FateMap)
    }
}

/// What is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Sessions written to more lately are left alone.
    pub min_age: Duration,
    /// Sessions whose root runs are taken over.
    pub adopt: bool,
}

/// What is to be done with a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// Nothing.
    Skip,
    /// Finish it: its root has ended.
    Recover,
    /// Finish it: the machine was booted since.
    FinishRebooted,
    /// Go on tracing it: its root runs.
    Adopt,
}

/// Why something is, or is not, done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// It was written to so lately.
    Fresh {
        /// Milliseconds ago.
        age_ms: u64,
        /// Milliseconds it would have to be.
        min_age_ms: u64,
    },
    /// Its lock is held: its owner lives, or another process is finishing it.
    OwnerLives,
    /// Its lock could not be tried.
    LockUnknown,
    /// A trace without a sidecar is nobody's.
    NotEnrolled,
    /// Its sidecar is not what a sidecar has to be.
    SidecarUnsafe(String),
    /// Its sidecar is not understood.
    SidecarUnreadable(String),
    /// It is of an earlier boot.
    Rebooted,
    /// Its process numbers are of another pid namespace, and there is no record of the kernel's.
    OtherNamespace,
    /// Nobody knows of which pid namespace its process numbers are, and there is no record of the kernel's.
    UnknownNamespace,
    /// Its root runs.
    RootRuns,
    /// Its root ended, with this status.
    RootEnded(Option<WaitStatus>),
    /// What became of its root could not be found out.
    RootUnknown(String),
    /// Its owner died.
    OwnerDied,
}

impl std::fmt::Display for Reason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Fresh { age_ms, min_age_ms } => {
                write!(f, "written {:.1} s ago, less than {:.1} s", secs(*age_ms), secs(*min_age_ms))
            }
            Self::OwnerLives => f.write_str("its lock is held: its owner lives"),
            Self::LockUnknown => f.write_str("its lock could not be tried"),
            Self::NotEnrolled => f.write_str("a trace without a sidecar"),
            Self::SidecarUnsafe(why) => write!(f, "its sidecar is {why}"),
            Self::SidecarUnreadable(why) => write!(f, "its sidecar is not understood: {why}"),
            Self::Rebooted => f.write_str("of an earlier boot"),
            Self::OtherNamespace => f.write_str("of another pid namespace"),
            Self::UnknownNamespace => f.write_str("of an unknown pid namespace"),
            Self::RootRuns => f.write_str("its root still runs"),
            Self::RootEnded(Some(status)) => match (status.exit_code(), status.signal()) {
                (Some(code), _) => write!(f, "its root exited with {code}"),
                (_, Some(signal)) => {
                    write!(f, "its root was ended by {}", super::signal::Signal(signal.into()).name())
                }
                _ => f.write_str("its root ended"),
            },
            Self::RootEnded(None) => f.write_str("its root is gone"),
            Self::RootUnknown(why) => write!(f, "what became of its root is unknown: {why}"),
            Self::OwnerDied => f.write_str("its owner died"),
        }
    }
}

fn secs(ms: u64) -> f64 {
    ms as f64 / 1000.0
}

/// What to do with a session, and every reason for it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Judgement {
    /// What to do.
    pub action: Action,
    /// Why: all that speaks against doing anything when it is left alone, else what speaks for it.
    pub reasons: Vec<Reason>,
}

/// Judges the evidence.
pub fn judge(evidence: &Evidence, policy: Policy) -> Judgement {
    let mut against = Vec::new();
    if let Some(age) = evidence.age.filter(|age| *age < policy.min_age) {
        let ms = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        against.push(Reason::Fresh { age_ms: ms(age), min_age_ms: ms(policy.min_age) });
    }
    match evidence.lock {
        Lock::Ours => {}
        Lock::Held => against.push(Reason::OwnerLives),
        Lock::Unknown if evidence.enrollment == Enrolled::Yes => against.push(Reason::LockUnknown),
        Lock::Unknown => {}
    }
    match &evidence.enrollment {
        Enrolled::Yes => {}
        // Nothing below can be asked of a session that nobody enrolled.
        not => {
            against.push(match not {
                Enrolled::Unsafe(why) => Reason::SidecarUnsafe(why.clone()),
                Enrolled::Unreadable(why) => Reason::SidecarUnreadable(why.clone()),
                Enrolled::Yes | Enrolled::No => Reason::NotEnrolled,
            });
            return Judgement { action: Action::Skip, reasons: against };
        }
    }
    let mut reasons = Vec::new();
    if evidence.lock == Lock::Ours {
        reasons.push(Reason::OwnerDied);
    }
    let action = if evidence.boot == Boot::Other {
        reasons.push(Reason::Rebooted);
        Action::FinishRebooted
    } else {
        if !evidence.root.is_kernels() {
            match evidence.namespace {
                Namespace::Same | Namespace::Unsaid => {}
                Namespace::Other => against.push(Reason::OtherNamespace),
                Namespace::Unknown => against.push(Reason::UnknownNamespace),
            }
        }
        match &evidence.root {
            RootFate::Ended { status, .. } => {
                reasons.push(Reason::RootEnded(*status));
                Action::Recover
            }
            RootFate::Runs { .. } if policy.adopt => {
                reasons.push(Reason::RootRuns);
                Action::Adopt
            }
            RootFate::Runs { .. } => {
                against.push(Reason::RootRuns);
                Action::Skip
            }
            RootFate::Unknown(why) => {
                against.push(Reason::RootUnknown(why.clone()));
                Action::Skip
            }
        }
    };
    if against.is_empty() {
        Judgement { action, reasons }
    } else {
        Judgement { action: Action::Skip, reasons: against }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const POLICY: Policy = Policy { min_age: Duration::from_secs(30), adopt: false };

    fn dead() -> Evidence {
        Evidence {
            age: Some(Duration::from_secs(31)),
            lock: Lock::Ours,
            enrollment: Enrolled::Yes,
            boot: Boot::Same,
            namespace: Namespace::Same,
            root: RootFate::Ended {
                status: Some(WaitStatus(7 << 8)),
                boot_ns: Some(1),
                source: ExitSource::FateMap,
            },
        }
    }

    fn action(evidence: &Evidence) -> Action {
        judge(evidence, POLICY).action
    }

    #[test]
    fn a_dead_session_is_finished_and_a_live_one_is_not() {
        assert_eq!(
            judge(&dead(), POLICY).reasons,
            [Reason::OwnerDied, Reason::RootEnded(Some(WaitStatus(7 << 8)))]
        );
        assert_eq!(action(&dead()), Action::Recover);
        assert_eq!(action(&Evidence { lock: Lock::Held, ..dead() }), Action::Skip);
        let runs = Evidence { root: RootFate::Runs { source: ExitSource::Proc }, ..dead() };
        assert_eq!(action(&runs), Action::Skip);
        assert_eq!(judge(&runs, Policy { adopt: true, ..POLICY }).action, Action::Adopt);
        assert_eq!(
            judge(&Evidence { lock: Lock::Held, ..runs }, Policy { adopt: true, ..POLICY }).action,
            Action::Skip
        );
    }

    #[test]
    fn freshness_is_a_courtesy_that_a_broken_clock_cannot_turn_into_a_wall() {
        assert_eq!(action(&Evidence { age: Some(Duration::from_millis(29_999)), ..dead() }), Action::Skip);
        assert_eq!(action(&Evidence { age: Some(Duration::from_secs(30)), ..dead() }), Action::Recover);
        assert_eq!(action(&Evidence { age: None, ..dead() }), Action::Recover);
    }

    #[test]
    fn what_is_not_enrolled_is_nobodys() {
        for enrollment in
            [Enrolled::No, Enrolled::Unsafe("a FIFO".into()), Enrolled::Unreadable("not JSON".into())]
        {
            let evidence = Evidence { enrollment, lock: Lock::Unknown, ..dead() };
            let judgement = judge(&evidence, POLICY);
            assert_eq!((judgement.action, judgement.reasons.len()), (Action::Skip, 1));
        }
    }

    #[test]
    fn another_boot_ends_a_session_whatever_runs_under_its_number() {
        let runs = RootFate::Runs { source: ExitSource::Proc };
        let evidence = Evidence { boot: Boot::Other, namespace: Namespace::Unknown, root: runs, ..dead() };
        assert_eq!(
            judge(&evidence, POLICY),
            Judgement { action: Action::FinishRebooted, reasons: vec![Reason::OwnerDied, Reason::Rebooted] }
        );
        assert_eq!(action(&Evidence { boot: Boot::Unknown, ..dead() }), Action::Recover);
    }

    #[test]
    fn numbers_of_another_namespace_say_nothing_but_the_kernels_record_does() {
        let gone = RootFate::Ended { status: None, boot_ns: None, source: ExitSource::Proc };
        for namespace in [Namespace::Other, Namespace::Unknown] {
            assert_eq!(action(&Evidence { namespace, root: gone.clone(), ..dead() }), Action::Skip);
            assert_eq!(action(&Evidence { namespace, ..dead() }), Action::Recover);
        }
        assert_eq!(action(&Evidence { namespace: Namespace::Unsaid, root: gone, ..dead() }), Action::Recover);
    }

    #[test]
    fn what_is_unknown_is_never_called_a_crash() {
        assert_eq!(action(&Evidence { root: RootFate::Unknown("hidden".into()), ..dead() }), Action::Skip);
        assert_eq!(action(&Evidence { lock: Lock::Unknown, ..dead() }), Action::Skip);
    }

    #[test]
    fn every_reason_is_given() {
        let evidence = Evidence {
            age: Some(Duration::ZERO),
            lock: Lock::Held,
            namespace: Namespace::Other,
            root: RootFate::Unknown("hidden".into()),
            ..dead()
        };
        let reasons = judge(&evidence, POLICY).reasons;
        assert_eq!(
            reasons,
            [
                Reason::Fresh { age_ms: 0, min_age_ms: 30_000 },
                Reason::OwnerLives,
                Reason::OtherNamespace,
                Reason::RootUnknown("hidden".into())
            ]
        );
        assert!(reasons.iter().all(|reason| !reason.to_string().is_empty()));
    }
}
