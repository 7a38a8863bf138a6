//! Retention of finished sessions: a policy, and the plan it makes of the sessions there are.
//!
//! The plan is a value. It removes the oldest sessions first, and never a protected one.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

/// How many finished sessions are kept, for how long, and in how much room.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RetentionPolicy {
    /// The number of sessions that are kept, at least 1.
    pub max_sessions: usize,
    /// Sessions that began longer ago than this go; `None`: age does not matter.
    pub max_age: Option<Duration>,
    /// The room that all sessions may take together, bytes; `None`: any.
    pub max_bytes: Option<u64>,
    /// Sessions with one of these labels, key and value, never go.
    pub protected_labels: Vec<(String, String)>,
    /// The share of the file system that sessions leave free, percent; 0: none.
    pub keep_free_percent: u8,
}

impl RetentionPolicy {
    /// The number of sessions that are kept by default.
    pub const MAX_SESSIONS: usize = 2000;
    /// The room that all sessions may take by default, bytes.
    pub const MAX_BYTES: u64 = 1 << 30;
    /// The share of the file system that is left free by default, percent.
    pub const KEEP_FREE_PERCENT: u8 = 15;
    /// However full the file system is, sessions may take this much together, bytes: on a full disk the
    /// newest sessions are the ones that are needed.
    const MIN_BYTES: u64 = 64 << 20;

    /// Keeps this many sessions, whatever their age and size.
    pub const fn count(max_sessions: usize) -> Self {
        Self {
            max_sessions,
            max_age: None,
            max_bytes: None,
            keep_free_percent: 0,
            protected_labels: Vec::new(),
        }
    }

    /// Whether the sizes of sessions matter.
    pub fn has_size_limit(&self) -> bool {
        self.max_bytes.is_some() || self.keep_free_percent > 0
    }

    /// The same policy with its free space turned into a number of bytes.
    pub fn within(self, space: Option<FileSystemSpace>, sessions: &[StoredSession]) -> Self {
        let Some(space) = space.filter(|_| self.keep_free_percent > 0) else { return self };
        let used: u64 = sessions.iter().map(|session| session.bytes).sum();
        let keep_free = space.total / 100 * u64::from(self.keep_free_percent.min(100));
        let most = used.saturating_add(space.available).saturating_sub(keep_free).max(Self::MIN_BYTES);
        Self { max_bytes: Some(self.max_bytes.map_or(most, |max_bytes| max_bytes.min(most))), ..self }
    }

    /// Whether sessions with these labels never go.
    pub fn protects(&self, labels: &BTreeMap<String, String>) -> bool {
        self.protected_labels.iter().any(|(key, value)| labels.get(key) == Some(value))
    }

    /// Plans which sessions go. `sessions` are oldest first. `is_protected` is called for a session only when
    /// it would go.
    pub fn plan(
        &self,
        now: Timestamp,
        sessions: &[StoredSession],
        mut is_protected: impl FnMut(&str) -> bool,
    ) -> RetentionPlan {
        let mut plan = RetentionPlan::default();
        let mut kept = sessions.len();
        let mut bytes: u64 = sessions.iter().map(|session| session.bytes).sum();
        for session in sessions {
            let Some(reason) = self.reason(now, session, kept, bytes) else { continue };
            if !is_protected(&session.dir_name) {
                kept -= 1;
                bytes = bytes.saturating_sub(session.bytes);
                plan.removals.push(Removal { dir_name: session.dir_name.clone(), reason });
            }
        }
        plan
    }

    /// Why a session goes when this many sessions with this many bytes are left, itself among them.
    fn reason(
        &self,
        now: Timestamp,
        session: &StoredSession,
        kept: usize,
        bytes: u64,
    ) -> Option<RemovalReason> {
        let age = session.began.and_then(|began| Duration::try_from(now.duration_since(began)).ok());
        if let Some(max_age) = self.max_age
            && age.is_some_and(|age| age > max_age)
        {
            return Some(RemovalReason::Age { max_seconds: max_age.as_secs() });
        }
        if kept > self.max_sessions.max(1) {
            return Some(RemovalReason::Count { max_sessions: self.max_sessions.max(1) });
        }
        self.max_bytes
            .filter(|max_bytes| bytes > *max_bytes)
            .map(|max_bytes| RemovalReason::Size { max_bytes })
    }
}

impl Default for RetentionPolicy {
    fn default() -> Self {
        Self {
            max_bytes: Some(Self::MAX_BYTES),
            keep_free_percent: Self::KEEP_FREE_PERCENT,
            ..Self::count(Self::MAX_SESSIONS)
        }
    }
}

/// The space of the file system that holds the sessions, bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileSystemSpace {
    /// All of it.
    pub total: u64,
    /// What is available to this user.
    pub available: u64,
}

/// A finished session, as far as retention has to know it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredSession {
    /// Its directory in the log.
    pub dir_name: String,
    /// When it began; `None` when its row does not say, and then its age does not matter.
    pub began: Option<Timestamp>,
    /// The room it takes, bytes; 0 when that does not matter.
    pub bytes: u64,
}

/// Why a session goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RemovalReason {
    /// There are more sessions than this.
    Count {
        /// The number of sessions that are kept.
        max_sessions: usize,
    },
    /// It began longer ago than this.
    Age {
        /// The age at which sessions go, seconds.
        max_seconds: u64,
    },
    /// All sessions together take more room than this.
    Size {
        /// The room that all sessions may take, bytes.
        max_bytes: u64,
    },
}

impl fmt::Display for RemovalReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Count { max_sessions } => write!(f, "more than {max_sessions} sessions"),
            Self::Age { max_seconds } => write!(f, "older than {max_seconds} s"),
            Self::Size { max_bytes } => write!(f, "more than {max_bytes} bytes of sessions"),
        }
    }
}

/// A session that goes, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Removal {
    /// Its directory in the log.
    pub dir_name: String,
    /// Why it goes.
    pub reason: RemovalReason,
}

impl fmt::Display for Removal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "session {}: {}", self.dir_name, self.reason)
    }
}

/// The sessions that go, oldest first.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(transparent)]
pub struct RetentionPlan {
    /// One removal per session.
    pub removals: Vec<Removal>,
}

impl fmt::Display for RetentionPlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.removals.iter().try_for_each(|removal| writeln!(f, "{removal}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_000_000;

    /// Sessions that began so many seconds ago, with so many bytes.
    fn sessions(of: &[(i64, u64)]) -> Vec<StoredSession> {
        let session = |(n, (age, bytes)): (usize, &(i64, u64))| StoredSession {
            dir_name: format!("s{n}"),
            began: Timestamp::from_second(NOW - age).ok(),
            bytes: *bytes,
        };
        of.iter().enumerate().map(session).collect()
    }

    fn removed(policy: RetentionPolicy, of: &[(i64, u64)], protected: &[&str]) -> Vec<String> {
        let now = Timestamp::from_second(NOW).unwrap();
        let plan = policy.plan(now, &sessions(of), |name| protected.contains(&name));
        plan.removals.into_iter().map(|removal| removal.dir_name).collect()
    }

    #[test]
    fn the_oldest_go_and_never_a_protected_one() {
        let of = [(50, 0), (40, 0), (30, 0), (20, 0)];
        assert_eq!(removed(RetentionPolicy::count(4), &of, &[]), [""; 0]);
        assert_eq!(removed(RetentionPolicy::count(2), &of, &[]), ["s0", "s1"]);
        assert_eq!(removed(RetentionPolicy::count(2), &of, &["s0"]), ["s1", "s2"]);
        assert_eq!(removed(RetentionPolicy::count(0), &of, &[]), ["s0", "s1", "s2"], "one is kept");
    }

    #[test]
    fn age_and_size_remove_further_ones() {
        let of = [(50, 10), (40, 10), (30, 10), (20, 10)];
        let all = RetentionPolicy::count(10);
        let age = RetentionPolicy { max_age: Some(Duration::from_secs(30)), ..all.clone() };
        assert_eq!(removed(age, &of, &[]), ["s0", "s1"], "exactly the limit is kept");
        let size = RetentionPolicy { max_bytes: Some(25), ..all };
        assert_eq!(removed(size.clone(), &of, &[]), ["s0", "s1"]);
        assert_eq!(removed(size.clone(), &of, &["s0", "s1", "s2", "s3"]), [""; 0]);
        let both = RetentionPolicy { max_age: Some(Duration::from_secs(45)), ..size };
        assert_eq!(removed(both, &of, &[]), ["s0", "s1"], "what went for its age takes no room");
    }

    #[test]
    fn free_space_is_a_limit_that_leaves_the_newest_sessions() {
        const MIB: u64 = 1 << 20;
        let of = [(50, 40 * MIB), (40, 40 * MIB), (30, 40 * MIB), (20, 40 * MIB)];
        let policy = RetentionPolicy { keep_free_percent: 10, ..RetentionPolicy::count(10) };
        let limit = |total: u64, available: u64| {
            let space = FileSystemSpace { total: total * MIB, available: available * MIB };
            policy.clone().within(Some(space), &sessions(&of)).max_bytes.map(|bytes| bytes / MIB)
        };
        assert_eq!(limit(1000, 500), Some(560), "what they take, and what is free above the share");
        assert_eq!(limit(1000, 40), Some(100), "less than they take: the oldest go");
        assert_eq!(limit(1000, 0), Some(64), "a full disk still has the newest");
        assert_eq!(policy.clone().within(None, &sessions(&of)), policy, "unknown space is no limit");
        let plan = policy.within(Some(FileSystemSpace { total: 1000 * MIB, available: 0 }), &sessions(&of));
        let now = Timestamp::from_second(NOW).unwrap();
        assert_eq!(plan.plan(now, &sessions(&of), |_| false).removals.len(), 3);
    }

    #[test]
    fn an_unknown_or_future_beginning_has_no_age() {
        let policy = RetentionPolicy { max_age: Some(Duration::ZERO), ..RetentionPolicy::count(10) };
        let mut stored = sessions(&[(-5, 0), (5, 0)]);
        stored[1].began = None;
        let plan = policy.plan(Timestamp::from_second(NOW).unwrap(), &stored, |_| false);
        assert_eq!(plan, RetentionPlan::default());
    }

    #[test]
    fn a_plan_prints_every_session_and_its_reason() {
        let policy = RetentionPolicy { max_age: Some(Duration::from_secs(45)), ..RetentionPolicy::count(2) };
        let plan = policy.plan(
            Timestamp::from_second(NOW).unwrap(),
            &sessions(&[(50, 0), (40, 0), (30, 0), (20, 0)]),
            |_| false,
        );
        assert_eq!(plan.to_string(), "session s0: older than 45 s\nsession s1: more than 2 sessions\n");
    }
}
