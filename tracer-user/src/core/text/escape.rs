//! The one escaper, with two policies.
//!
//! A name on Linux is bytes: a comm may be cut inside a UTF-8 sequence, a file name may hold an escape
//! sequence for the terminal. Both policies write a byte that is not readable text as `\xNN`, so that the
//! result never holds a control character or a character that changes the direction or visibility of the text
//! around it.
//!
//! - [`escape`] is lossless: the backslash is escaped too, so [`unescape`] returns exactly the original
//!   bytes. It is used for everything that is written to be read back.
//! - [`printable`] is for readers: a backslash stays as it is.

use std::fmt::Write as _;

/// Control characters, and characters that make a terminal or a browser show text in another order or not at
/// all.
fn is_unprintable(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{061c}'
            | '\u{200b}'..='\u{200f}'
            | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}'
            | '\u{feff}'
            | '\u{fff9}'..='\u{fffb}'
            | '\u{e0000}'..='\u{e007f}')
}

fn write_hex(out: &mut String, bytes: &[u8]) {
    for byte in bytes {
        // Writing to a String cannot fail.
        let _ = write!(out, "\\x{byte:02x}");
    }
}

fn escape_where(bytes: &[u8], escaped: impl Fn(char) -> bool) -> String {
    let mut out = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            if escaped(c) {
                write_hex(&mut out, c.encode_utf8(&mut [0; 4]).as_bytes());
            } else {
                out.push(c);
            }
        }
        write_hex(&mut out, chunk.invalid());
    }
    out
}

/// Lossless text: what is not readable, and the backslash, as `\xNN`.
pub fn escape(bytes: impl AsRef<[u8]>) -> String {
    escape_where(bytes.as_ref(), |c| c == '\\' || is_unprintable(c))
}

/// Text for a reader: what is not readable as `\xNN`. The reader may be the log of a CI system, which takes
/// some lines for commands: `##[` and `##vso[` anywhere in a line, and `::` at its beginning. These are
/// broken up.
pub fn printable(bytes: impl AsRef<[u8]>) -> String {
    let text = escape_where(bytes.as_ref(), is_unprintable);
    let text = if text.contains("##") { text.replace("##", "#\\x23") } else { text };
    match text.trim_start().strip_prefix("::") {
        Some(rest) => format!("{}\\x3a:{rest}", &text[..text.len() - rest.len() - 2]),
        None => text,
    }
}

/// A JSON document with everything that [`printable`] would escape written as `\uNNNN`, which means the same.
/// Outside of strings JSON has no such characters.
pub fn json(document: &str) -> String {
    let mut out = String::with_capacity(document.len());
    let mut before = ' ';
    for c in document.chars() {
        let command = c == '#' && before == '#';
        if (is_unprintable(c) && c != '\n') || command {
            for unit in c.encode_utf16(&mut [0; 2]) {
                // Writing to a String cannot fail.
                let _ = write!(out, "\\u{unit:04x}");
            }
        } else {
            out.push(c);
        }
        before = c;
    }
    out
}

/// The bytes that [`escape`] was given. A backslash that starts no `\xNN` stands for itself, so any text is
/// accepted.
pub fn unescape(text: &str) -> Vec<u8> {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|value| u8::try_from(value).ok());
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        rest = tail;
        match (first, tail) {
            (b'\\', [b'x', high, low, after @ ..]) => match (digit(*high), digit(*low)) {
                (Some(high), Some(low)) => {
                    out.push(high << 4 | low);
                    rest = after;
                }
                _ => out.push(*first),
            },
            _ => out.push(*first),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

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
        for policy in [|text| escape(text), |text: &str| printable(text)] {
            assert_eq!(policy("\x1b[31mred\n\t\u{9b}"), "\\x1b[31mred\\x0a\\x09\\xc2\\x9b");
            assert_eq!(policy("a\u{202e}b"), "a\\xe2\\x80\\xaeb");
            assert_eq!(policy("größe"), "größe");
        }
    }

    #[test]
    fn commands_of_ci_systems_are_broken_up() {
        for (text, shown) in [
            ("x ##[error]y", "x #\\x23[error]y"),
            ("##vso[task.setvariable]y", "#\\x23vso[task.setvariable]y"),
            (" ::error file=x::y", " \\x3a:error file=x::y"),
            ("a::b # c", "a::b # c"),
        ] {
            assert_eq!(printable(text), shown);
        }
    }

    #[test]
    fn a_json_document_means_the_same_without_its_special_characters() {
        let value = "a\u{202e}b\u{9b}31m ##[error] ### \u{e0041} größe\n";
        let document =
            format!("{{\n  {value:?}: 1\n}}").replace("\\u{202e}", "\u{202e}").replace("\\u{9b}", "\u{9b}");
        let document = document.replace("\\u{e0041}", "\u{e0041}");
        let safe = json(&document);
        assert!(!safe.chars().any(|c| is_unprintable(c) && c != '\n') && !safe.contains("##"), "{safe}");
        assert!(safe.contains("größe") && safe.contains("\\udb40\\udc41"), "{safe}");
    }

    #[test]
    fn only_the_lossless_policy_escapes_the_backslash() {
        assert_eq!(escape("a\\x41"), "a\\x5cx41");
        assert_eq!(printable("a\\x41"), "a\\x41");
    }

    proptest! {
        #[test]
        fn any_bytes_come_back(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            prop_assert!(!escape(&bytes).chars().any(is_unprintable));
            prop_assert!(!printable(&bytes).chars().any(is_unprintable));
            prop_assert_eq!(unescape(&escape(&bytes)), bytes);
        }

        #[test]
        fn any_text_can_be_unescaped(text in ".{0,64}") {
            let _ = unescape(&text);
        }
    }
}
