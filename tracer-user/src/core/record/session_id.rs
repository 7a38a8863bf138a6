//! Session ids, which become directory names.

use std::fmt;

/// A name that is safe as one component of a path and on a terminal: 1 to 100 of `A-Z a-z 0-9 . _ -`, not
/// beginning with a dot or a dash.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionId(String);

/// Why a text is not a session id.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SessionIdError {
    /// It is empty.
    #[error("a session id may not be empty")]
    Empty,
    /// It is too long. Its length, bytes.
    #[error("a session id has at most {MAX_BYTES} characters, this one has {0}")]
    TooLong(usize),
    /// It contains a character that is not allowed.
    #[error("a session id is made of letters, digits, '.', '_' and '-', and begins with a letter or digit")]
    Character,
}

/// The longest id, bytes.
const MAX_BYTES: usize = 100;

impl SessionId {
    /// Parses a text.
    ///
    /// # Errors
    /// When the text is not a session id.
    pub fn parse(text: &str) -> Result<Self, SessionIdError> {
        let Some(first) = text.bytes().next() else { return Err(SessionIdError::Empty) };
        if text.len() > MAX_BYTES {
            return Err(SessionIdError::TooLong(text.len()));
        }
        let inner = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
        if !(first.is_ascii_alphanumeric() || first == b'_') || !text.bytes().all(inner) {
            return Err(SessionIdError::Character);
        }
        Ok(Self(text.to_owned()))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::str::FromStr for SessionId {
    type Err = SessionIdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::parse(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_harmless_names_become_directories() {
        for good in ["a", "run-1", "2026-11-21T11.30", "_x", &"x".repeat(MAX_BYTES)] {
            assert!(SessionId::parse(good).is_ok(), "{good}");
        }
        for bad in
            ["", ".", "..", "../x", "a/b", "-rf", ".hidden", "a b", "ä", "a\n", &"x".repeat(MAX_BYTES + 1)]
        {
            assert!(SessionId::parse(bad).is_err(), "{bad:?}");
        }
    }
}
