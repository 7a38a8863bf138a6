//! Small pieces of the texts in `/proc`: numbers, words, arguments, the numbers in links.

use crate::core::text::ByteString;

/// White-space separated words; none when the text is not UTF-8.
pub(crate) fn words(text: &[u8]) -> impl Iterator<Item = &str> {
    std::str::from_utf8(text).unwrap_or("").split_ascii_whitespace()
}

/// The first word, as a decimal number.
pub(crate) fn decimal<T: std::str::FromStr>(text: &[u8]) -> Option<T> {
    words(text).next()?.parse().ok()
}

/// The first word, as a hexadecimal number without prefix.
pub(crate) fn hex(text: &[u8]) -> Option<u64> {
    u64::from_str_radix(words(text).next()?, 16).ok()
}

/// The words of `cmdline`: each ends with a zero byte. A process that has no arguments has no words.
pub(crate) fn arguments(text: &[u8]) -> Vec<ByteString> {
    let text = text.strip_suffix(b"\0").unwrap_or(text);
    if text.is_empty() {
        return Vec::new();
    }
    text.split(|byte| *byte == 0).map(ByteString::from).collect()
}

/// The inode in a link's text: `pid:[4026531836]` for the kind `pid`, `socket:[77]` for `socket`.
pub(crate) fn inode_in_link(link: &[u8], kind: &str) -> Option<u64> {
    let number = link.strip_prefix(kind.as_bytes())?.strip_prefix(b":[")?.strip_suffix(b"]")?;
    std::str::from_utf8(number).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn argv_keeps_empty_words() {
        let words = ["a", "", "b c"].map(ByteString::from);
        assert_eq!(arguments(b"a\0\0b c\0"), words);
        assert_eq!(arguments(b"a\0\0b c"), words, "a program may overwrite the last zero byte");
        assert_eq!(arguments(b""), []);
    }

    #[test]
    fn links_name_inodes_of_their_kind() {
        assert_eq!(inode_in_link(b"pid:[4026531836]", "pid"), Some(4_026_531_836));
        assert_eq!(inode_in_link(b"socket:[77]", "socket"), Some(77));
        for link in [&b"socket:[x]"[..], b"socket:[7", b"pipe:[7]", b"/socket:[7]", b""] {
            assert_eq!(inode_in_link(link, "socket"), None);
        }
    }
}
