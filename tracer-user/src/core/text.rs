//! Foreign bytes as text, and back.
//!
//! A name on Linux is bytes: a comm may be cut inside a UTF-8 sequence, a file name may hold an escape sequence.
//! [`escape`] keeps what is readable and writes everything else as `\xNN`, one per byte; the backslash itself too,
//! so that [`unescape`] gives back exactly the bytes there were. What comes out never holds a control character,
//! nor one that turns the direction of the text around it.

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::borrow::Cow;
use std::fmt::Write as _;

/// Whether a character is written as it is.
fn is_plain(c: char) -> bool {
    !(c == '\\'
        || c.is_control()
        || matches!(c, '\u{061c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}'))
}

/// Readable text for foreign bytes; see the module's text.
pub fn escape(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len());
    let hex = |out: &mut String, bytes: &[u8]| {
        for byte in bytes {
            // Writing to a String cannot fail.
            let _ = write!(out, "\\x{byte:02x}");
        }
    };
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            if is_plain(c) {
                out.push(c);
            } else {
                let mut buffer = [0; 4];
                hex(&mut out, c.encode_utf8(&mut buffer).as_bytes());
            }
        }
        hex(&mut out, chunk.invalid());
    }
    out
}

/// The bytes that [`escape`] was given. Anything that is no `\xNN` stays as it is, so any text is accepted.
pub fn unescape(text: &str) -> Vec<u8> {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        let escaped = bytes
            .get(at..at + 4)
            .filter(|four| four.starts_with(b"\\x"))
            .and_then(|four| std::str::from_utf8(four.get(2..4)?).ok())
            .filter(|digits| digits.bytes().all(|d| d.is_ascii_hexdigit()))
            .and_then(|digits| u8::from_str_radix(digits, 16).ok());
        if let Some(value) = escaped {
            out.push(value);
            at += 4;
        } else {
            out.push(byte);
            at += 1;
        }
    }
    out
}

/// Foreign bytes that are written as [`escape`]d text and read back as the same bytes.
#[derive(Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ByteText(pub Vec<u8>);

impl ByteText {
    /// As text.
    pub fn text(&self) -> String {
        escape(&self.0)
    }

    /// The bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl From<&[u8]> for ByteText {
    fn from(bytes: &[u8]) -> Self {
        Self(bytes.to_vec())
    }
}

impl From<Vec<u8>> for ByteText {
    fn from(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }
}

impl From<&str> for ByteText {
    fn from(text: &str) -> Self {
        Self(text.as_bytes().to_vec())
    }
}

impl std::fmt::Debug for ByteText {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "\"{}\"", self.text())
    }
}

impl std::fmt::Display for ByteText {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.text())
    }
}

impl Serialize for ByteText {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text())
    }
}

impl<'de> Deserialize<'de> for ByteText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Self(unescape(&String::deserialize(deserializer)?)))
    }
}

impl JsonSchema for ByteText {
    fn schema_name() -> Cow<'static, str> {
        "ByteText".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "description": "Bytes as text: what is not printable UTF-8, and the backslash, as \\xNN a byte."
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_comm_cut_inside_a_character_stays_readable_and_whole() {
        let cut = &"ein-läufer-für-ä".as_bytes()[..16];
        assert_eq!(escape(cut), "ein-läufer-für");
        let cut = &"läufer-für-öäüß".as_bytes()[..14];
        assert_eq!(escape(cut), "läufer-für-\\xc3");
        assert_eq!(unescape(&escape(cut)), cut);
    }

    #[test]
    fn control_sequences_and_direction_marks_do_not_get_through() {
        assert_eq!(escape(b"\x1b[31mred\n"), "\\x1b[31mred\\x0a");
        assert_eq!(escape("a\u{202e}b".as_bytes()), "a\\xe2\\x80\\xaeb");
        assert_eq!(escape(b"back\\slash"), "back\\x5cslash");
    }

    proptest! {
        #[test]
        fn any_bytes_come_back(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            let text = escape(&bytes);
            prop_assert!(!text.chars().any(char::is_control));
            prop_assert_eq!(unescape(&text), bytes);
        }

        #[test]
        fn any_text_can_be_unescaped(text in ".{0,64}") {
            let _ = unescape(&text);
        }
    }
}
