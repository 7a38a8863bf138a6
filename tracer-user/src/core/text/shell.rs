//! Text that a shell reads as one word.

use super::{ByteString, escape};

/// A word as one types it in a shell. A word with bytes that cannot be shown becomes `$'...'`, which bash,
/// zsh and ksh read.
pub fn shell_word(word: &ByteString) -> String {
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"/._-+=:,@%^".contains(byte);
    let bytes = word.as_bytes();
    match std::str::from_utf8(bytes) {
        Ok(text) if !bytes.is_empty() && bytes.iter().all(plain) => text.to_owned(),
        Ok(text) if escape(text.replace('\\', "")) == text.replace('\\', "") => {
            format!("'{}'", text.replace('\'', r"'\''"))
        }
        _ => format!("$'{}'", escape(bytes).replace('\'', r"\x27")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shell_reads_the_word_back() {
        let words: [&[u8]; 7] = [
            b"/run/a-1.sock",
            b"",
            b"a b",
            b"it's",
            b"$(rm) `x` \\",
            b"tab\there\xff'",
            "\u{202e}x".as_bytes(),
        ];
        for word in words {
            let typed = shell_word(&ByteString(word.to_vec()));
            assert!(!typed.contains(['\t', '\u{202e}']), "{typed}");
            let output = std::process::Command::new("bash")
                .args(["-c", &format!("printf %s {typed}")])
                .output()
                .unwrap();
            assert_eq!(output.stdout, word, "{typed}");
        }
        assert_eq!(shell_word(&"/run/a-1.sock".into()), "/run/a-1.sock");
    }
}
