//! Words that somebody else chose: comm, argv, paths.

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Bytes from outside. Has no `Display`: whoever prints it chooses the escaping (`report::escape`).
///
/// Serialized as a string in which a byte that is no printable UTF-8 text, and the backslash, is `\xNN`.
#[derive(Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(pub Vec<u8>);

impl Name {
    /// The bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Text in which control characters, invalid UTF-8 and the backslash are `\xNN`: loses nothing.
    pub fn escaped(&self) -> String {
        let mut out = String::with_capacity(self.0.len());
        for chunk in self.0.utf8_chunks() {
            for c in chunk.valid().chars() {
                if c == '\\' || is_unprintable(c) {
                    let mut buffer = [0; 4];
                    for byte in c.encode_utf8(&mut buffer).bytes() {
                        push_hex(&mut out, byte);
                    }
                } else {
                    out.push(c);
                }
            }
            for byte in chunk.invalid() {
                push_hex(&mut out, *byte);
            }
        }
        out
    }

    /// Text for a reader: control characters, marks that reorder text, and invalid UTF-8 are `\xNN`; a backslash stays what it is.
    pub fn printable(&self) -> String {
        let mut out = String::with_capacity(self.0.len());
        for chunk in self.0.utf8_chunks() {
            out.push_str(&printable(chunk.valid()));
            for byte in chunk.invalid() {
                push_hex(&mut out, *byte);
            }
        }
        out
    }

    /// The inverse of [`Name::escaped`]; a backslash that starts no `\xNN` stands for itself.
    pub fn unescaped(text: &str) -> Self {
        let mut out = Vec::with_capacity(text.len());
        let mut rest = text.as_bytes();
        while let [first, tail @ ..] = rest {
            match rest {
                [b'\\', b'x', high, low, after @ ..] if hex(*high).is_some() && hex(*low).is_some() => {
                    out.push(hex(*high).unwrap_or(0) << 4 | hex(*low).unwrap_or(0));
                    rest = after;
                }
                _ => {
                    out.push(*first);
                    rest = tail;
                }
            }
        }
        Self(out)
    }
}

/// Control characters, and the ones that make a terminal or a browser show text in another order or not at all.
pub(crate) fn is_unprintable(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{061c}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

/// Text in which control characters and marks that reorder text are `\xNN`.
pub(crate) fn printable(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if is_unprintable(c) {
            let mut buffer = [0; 4];
            for byte in c.encode_utf8(&mut buffer).bytes() {
                push_hex(&mut out, byte);
            }
        } else {
            out.push(c);
        }
    }
    out
}

fn push_hex(out: &mut String, byte: u8) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    out.push_str("\\x");
    out.push(char::from(DIGITS[usize::from(byte >> 4)]));
    out.push(char::from(DIGITS[usize::from(byte & 15)]));
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).map(|n| n as u8)
}

impl std::fmt::Debug for Name {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "\"{}\"", self.escaped())
    }
}

impl From<&[u8]> for Name {
    fn from(bytes: &[u8]) -> Self {
        Self(bytes.to_vec())
    }
}

impl From<Vec<u8>> for Name {
    fn from(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }
}

impl From<&str> for Name {
    fn from(text: &str) -> Self {
        Self(text.as_bytes().to_vec())
    }
}

impl Serialize for Name {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.escaped())
    }
}

impl<'de> Deserialize<'de> for Name {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(|text| Self::unescaped(&text))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn escaping_loses_nothing(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            let name = Name(bytes);
            prop_assert_eq!(Name::unescaped(&name.escaped()), name);
        }

        #[test]
        fn escaped_text_is_printable(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            prop_assert!(!Name(bytes).escaped().chars().any(is_unprintable));
        }
    }

    #[test]
    fn a_backslash_cannot_be_mistaken_for_an_escape() {
        assert_eq!(Name::from("a\\x41").escaped(), "a\\x5cx41");
        assert_eq!(Name::from("\u{1b}[31m\u{202e}").escaped(), "\\x1b[31m\\xe2\\x80\\xae");
    }
}
