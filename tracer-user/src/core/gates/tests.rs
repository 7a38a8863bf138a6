//! Each gate alone, and all reasons together.

use super::*;

const POLICY: RecoveryPolicy = RecoveryPolicy { min_age: Duration::from_secs(30), adopt: false };

fn dead() -> GateEvidence {
    GateEvidence {
        age: Some(Duration::from_secs(31)),
        lock: OwnerLock::Ours,
        sidecar: SidecarState::Valid,
        boot: BootMatch::Same,
        namespace: NamespaceMatch::Same,
        root: RootFate::Ended {
            status: Some(WaitStatus(7 << 8)),
            boot_ns: Some(1),
            source: ExitSource::FateMap,
        },
    }
}

fn action(evidence: &GateEvidence) -> RecoveryAction {
    judge(evidence, POLICY).action
}

#[test]
fn a_dead_session_is_finished_and_a_live_one_is_not() {
    assert_eq!(
        judge(&dead(), POLICY).reasons,
        [GateReason::OwnerDied, GateReason::RootEnded(Some(WaitStatus(7 << 8)))]
    );
    assert_eq!(action(&dead()), RecoveryAction::Recover);
    assert_eq!(action(&GateEvidence { lock: OwnerLock::Held, ..dead() }), RecoveryAction::Skip);
    let runs = GateEvidence { root: RootFate::Runs { source: ExitSource::Proc }, ..dead() };
    assert_eq!(action(&runs), RecoveryAction::Skip);
    assert_eq!(judge(&runs, RecoveryPolicy { adopt: true, ..POLICY }).action, RecoveryAction::Adopt);
    assert_eq!(
        judge(&GateEvidence { lock: OwnerLock::Held, ..runs }, RecoveryPolicy { adopt: true, ..POLICY })
            .action,
        RecoveryAction::Skip
    );
}

#[test]
fn freshness_is_a_courtesy_and_a_broken_clock_does_not_block_recovery() {
    assert_eq!(
        action(&GateEvidence { age: Some(Duration::from_millis(29_999)), ..dead() }),
        RecoveryAction::Skip
    );
    assert_eq!(
        action(&GateEvidence { age: Some(Duration::from_secs(30)), ..dead() }),
        RecoveryAction::Recover
    );
    assert_eq!(action(&GateEvidence { age: None, ..dead() }), RecoveryAction::Recover);
}

#[test]
fn a_session_without_a_valid_sidecar_is_left_alone() {
    for sidecar in [
        SidecarState::Absent,
        SidecarState::Unsafe("a FIFO".into()),
        SidecarState::Unreadable("not JSON".into()),
    ] {
        let evidence = GateEvidence { sidecar, lock: OwnerLock::Unknown, ..dead() };
        let verdict = judge(&evidence, POLICY);
        assert_eq!((verdict.action, verdict.reasons.len()), (RecoveryAction::Skip, 1));
    }
}

#[test]
fn another_boot_ends_a_session_whatever_process_has_its_number() {
    let runs = RootFate::Runs { source: ExitSource::Proc };
    let evidence =
        GateEvidence { boot: BootMatch::Other, namespace: NamespaceMatch::Unknown, root: runs, ..dead() };
    assert_eq!(
        judge(&evidence, POLICY),
        GateVerdict {
            action: RecoveryAction::FinishRebooted,
            reasons: vec![GateReason::OwnerDied, GateReason::Rebooted]
        }
    );
    assert_eq!(action(&GateEvidence { boot: BootMatch::Unknown, ..dead() }), RecoveryAction::Recover);
}

#[test]
fn numbers_of_another_namespace_prove_nothing_but_the_kernels_record_does() {
    let gone = RootFate::Ended { status: None, boot_ns: None, source: ExitSource::Proc };
    for namespace in [NamespaceMatch::Other, NamespaceMatch::Unknown] {
        assert_eq!(action(&GateEvidence { namespace, root: gone.clone(), ..dead() }), RecoveryAction::Skip);
        assert_eq!(action(&GateEvidence { namespace, ..dead() }), RecoveryAction::Recover);
    }
    assert_eq!(
        action(&GateEvidence { namespace: NamespaceMatch::Unsaid, root: gone, ..dead() }),
        RecoveryAction::Recover
    );
}

#[test]
fn an_unknown_fate_is_never_called_a_crash() {
    assert_eq!(
        action(&GateEvidence { root: RootFate::Unknown("hidden".into()), ..dead() }),
        RecoveryAction::Skip
    );
    assert_eq!(action(&GateEvidence { lock: OwnerLock::Unknown, ..dead() }), RecoveryAction::Skip);
}

#[test]
fn every_reason_is_given() {
    let evidence = GateEvidence {
        age: Some(Duration::ZERO),
        lock: OwnerLock::Held,
        namespace: NamespaceMatch::Other,
        root: RootFate::Unknown("hidden".into()),
        ..dead()
    };
    let reasons = judge(&evidence, POLICY).reasons;
    assert_eq!(
        reasons,
        [
            GateReason::Fresh { age_ms: 0, min_age_ms: 30_000 },
            GateReason::OwnerLives,
            GateReason::OtherNamespace,
            GateReason::RootUnknown("hidden".into())
        ]
    );
    assert!(reasons.iter().all(|reason| !reason.to_string().is_empty()));
}
