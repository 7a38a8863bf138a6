//! Ports that a command line names.

use std::collections::BTreeSet;

use crate::core::text::ByteString;

/// Every number in these words that may be a port: a whole word, or the part after its last `:` or `=`.
///
/// Some are no ports (`sleep 600` names one, too): a port means something only together with its holder.
pub fn named_ports<'a>(words: impl IntoIterator<Item = &'a ByteString>) -> BTreeSet<u16> {
    let port = |word: &ByteString| {
        let last = word.as_bytes().rsplit(|byte| matches!(byte, b':' | b'=')).next()?;
        std::str::from_utf8(last).ok()?.parse().ok().filter(|port| *port != 0)
    };
    words.into_iter().filter_map(port).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_found_as_people_write_them() {
        let words =
            ["server", "--port", "8080", "--listen=127.0.0.1:9090", "PORT=3000", "[::1]:4000", "0", "70000"];
        let words = words.map(ByteString::from);
        assert_eq!(named_ports(&words), BTreeSet::from([3000, 4000, 8080, 9090]));
        assert!(named_ports(&["v1.2", "a:b", "--x=", "-1"].map(ByteString::from)).is_empty());
    }
}
