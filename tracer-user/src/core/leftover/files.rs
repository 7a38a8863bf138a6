//! Files: stale and owned, stale and of an unknown owner, or perhaps in use.

use super::scene::{FileKind, FileState, LeftoverFile, Scene};
use super::{LeftoverFinding, LeftoverKind, LeftoverStatus};
use crate::core::text::{ByteString, shell_word};

/// The finding about a file.
pub(super) fn finding(scene: &Scene, file: &LeftoverFile) -> LeftoverFinding {
    let (kind, what) = match file.kind {
        FileKind::Socket => (LeftoverKind::SocketFile, "socket"),
        FileKind::SharedMemory => (LeftoverKind::SharedMemory, "shared memory"),
        FileKind::PidFile => (LeftoverKind::PidFile, "pid file"),
    };
    let path = file.path.escaped();
    let (status, why) = match (&file.state, &file.owned) {
        (FileState::Stale(proof), Some(owned)) => {
            (LeftoverStatus::Left, format!("is stale: {proof}; {owned}"))
        }
        (FileState::Stale(proof), None) => {
            let written = file.written_during.as_ref();
            let when = written.map(|session| format!(", and was last written while session {session} ran"));
            let when = when.unwrap_or_default();
            (LeftoverStatus::Note, format!("is unused: {proof}; its owner is unknown{when}"))
        }
        (FileState::Unknown(why), _) => (LeftoverStatus::Unknown, format!("may be in use: {why}")),
    };
    let left = status == LeftoverStatus::Left;
    let protected = file.exposed.as_ref().filter(|_| left).map(|exposed| {
        let directory = exposed.directory.escaped();
        match exposed.owner {
            Some(owner) => format!("{directory} belongs to user {owner}, who could put another file there"),
            None => format!("other users can write to {directory}, and could put another file there"),
        }
    });
    let reap = match (file.asked, &file.session) {
        (true, _) => format!("reap --socket {} --yes", pattern_of(&file.path)),
        (false, Some(session)) => format!("reap --session {session} --yes"),
        (false, None) => "reap --all-mine --yes".to_owned(),
    };
    let command = match &file.exposed {
        None => Some(format!("tracer-user {reap}")),
        Some(exposed) if exposed.file_owner != scene.uid => {
            Some(format!("sudo -u '#{}' tracer-user {reap}", exposed.file_owner))
        }
        Some(_) => None,
    };
    let sentence = match &protected {
        Some(protected) => format!("{what} {path} {why}; not removed as root: {protected}"),
        None => format!("{what} {path} {why}"),
    };
    LeftoverFinding {
        command: command.filter(|_| left),
        path: Some(file.path.clone()),
        session: file.session.clone(),
        requested: file.asked,
        protected,
        ..LeftoverFinding::new(kind, status, format!("file {path}"), sentence)
    }
}

/// The pattern that matches this path alone, as one types it.
pub(super) fn pattern_of(path: &ByteString) -> String {
    let mut pattern = Vec::with_capacity(path.as_bytes().len());
    for byte in path.as_bytes() {
        match byte {
            b'*' | b'?' | b'[' | b']' => pattern.extend([b'[', *byte, b']']),
            0 if pattern.is_empty() => pattern.push(b'@'),
            other => pattern.push(*other),
        }
    }
    shell_word(&ByteString(pattern))
}
