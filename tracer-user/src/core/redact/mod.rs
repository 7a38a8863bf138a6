//! Redacts secrets in command lines and in text: `***` takes their place.
//!
//! A secret is known by the name before it ([`names`]), by the option of a well-known program ([`programs`]),
//! by its place in a URL or a header, or by its shape alone ([`shapes`]). What only looks like one, such as
//! `StrictHostKeyChecking=no`, stays: a report that shows too little explains nothing.

mod names;
mod programs;
mod shapes;
#[cfg(test)]
mod tests;

use self::names::{REDACTED, is_harmless, names_a_secret};
use super::text::ByteString;

/// What stands before a colon and an `@` that are not those of a user and a password.
const NOT_USERS: &[&str] = &[
    "mailto",
    "sip",
    "sips",
    "xmpp",
    "acct",
    "npm",
    "jsr",
    "gem",
    "workspace",
    "file",
    "link",
    "patch",
    "catalog",
];

/// An argv for reports: printable, secrets redacted.
pub fn argv(words: &[ByteString]) -> Vec<String> {
    let mut reader = WordReader::default();
    words.iter().map(|word| reader.argument(&word.printable())).collect()
}

/// An argv to be recorded: words with a secret are redacted, all others stay byte for byte.
pub fn arguments(words: &[ByteString]) -> Vec<ByteString> {
    let redacted = argv(words).into_iter().zip(words);
    redacted
        .map(|(shown, word)| if shown == word.printable() { word.clone() } else { shown.as_str().into() })
        .collect()
}

/// Text with its secrets redacted: in the words of a command, in `name=value` and `name: value`, in headers
/// and URLs, and by their shape.
pub fn line(text: &str) -> String {
    shapes::redact(&pairs(&words(text)))
}

/// Reads a command word by word.
#[derive(Default)]
struct WordReader {
    programs: programs::Reader,
    next_is_secret: bool,
    before: String,
}

impl WordReader {
    /// An argument, redacted.
    fn argument(&mut self, word: &str) -> String {
        match self.secret(word) {
            Some(begin) => format!("{}{REDACTED}", line(&word[..begin])),
            None if word.contains(char::is_whitespace) => line(word),
            None => shapes::redact(&pairs(word)),
        }
    }

    /// Where the secret in this word begins; `None`: no other word of the command makes it one.
    fn secret(&mut self, word: &str) -> Option<usize> {
        let before = std::mem::replace(&mut self.before, word.to_owned());
        let by_program = self.programs.word(word);
        if std::mem::take(&mut self.next_is_secret) && !word.starts_with('-') && !is_harmless(word) {
            return Some(0);
        }
        let option = word.starts_with('-') && !word.contains(['=', ' ']);
        // `config set _authToken VALUE`
        let setting = before == "set" && word.contains('_');
        self.next_is_secret = (option || setting) && names_a_secret(word.rsplit(':').next().unwrap_or(word));
        by_program.filter(|begin| !is_harmless(&word[*begin..]))
    }
}

/// Redacts what is a secret because of the words before it.
fn words(text: &str) -> String {
    let mut reader = WordReader::default();
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while !rest.is_empty() {
        let blank = rest.len() - rest.trim_start().len();
        let (spaces, tail) = rest.split_at(blank);
        out.push_str(spaces);
        let end = match tail.chars().next() {
            None => 0,
            Some(quote @ ('"' | '\'')) => tail[1..].find(quote).map_or(tail.len(), |end| end + 2),
            Some(_) => tail.find(char::is_whitespace).unwrap_or(tail.len()),
        };
        let (word, after) = tail.split_at(end);
        let bare = word.trim_matches(['"', '\'']);
        let lead = word.find(bare).unwrap_or(0);
        match reader.secret(bare) {
            Some(begin) => {
                out.push_str(&word[..lead + begin]);
                out.push_str(REDACTED);
                out.push_str(&word[lead + bare.len()..]);
            }
            None if bare.len() < word.len() && bare.contains(char::is_whitespace) => {
                out.push_str(&word[..lead]);
                out.push_str(&words(bare));
                out.push_str(&word[lead + bare.len()..]);
            }
            None => out.push_str(word),
        }
        rest = after;
    }
    out
}

/// Redacts values of names, passwords in URLs, and headers.
fn pairs(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(['=', ':']) {
        let (before, after) = rest.split_at(at);
        let name = name_at_the_end_of(before);
        let (separator, value) = after.split_at(1);
        out.push_str(before);
        out.push_str(separator);
        let lower = name.to_ascii_lowercase();
        rest = if separator == ":" && value.starts_with("//") {
            url_password(&lower, value, &mut out)
        } else if lower.ends_with("authorization") {
            authorization(value, &mut out)
        } else if separator == ":" && lower.ends_with("cookie") {
            let end = value.find(['"', '\'', '\n']).unwrap_or(value.len());
            out.push_str(if end > 0 { " ***" } else { "" });
            &value[end..]
        } else if names_a_secret(name) || is_signature(&lower, value) {
            redact_value(value, &mut out)
        } else if separator == ":" && !name.is_empty() {
            user_password(&lower, value, &mut out)
        } else {
            value
        };
    }
    out.push_str(rest);
    out
}

/// The name before a separator, without the quotes that JSON has around it.
fn name_at_the_end_of(before: &str) -> &str {
    let before = before.trim_end_matches(['"', '\'', '\\', ' ']);
    let start = before
        .rfind(|c: char| !(c.is_alphanumeric() || c == '_' || c == '-' || c == '.'))
        .map_or(0, |at| at + before[at..].chars().next().map_or(1, char::len_utf8));
    &before[start..]
}

/// The length of a value at the start of a text: quoted, or up to a delimiter.
fn value_length(text: &str) -> usize {
    if let Some(inner) = text.strip_prefix("\\\"") {
        return inner.find("\\\"").map_or(text.len(), |end| end + 4);
    }
    match text.chars().next() {
        None => 0,
        Some(quote @ ('"' | '\'')) => text[1..].find(quote).map_or(text.len(), |end| end + 2),
        Some(_) => {
            let delimiters = [' ', ',', ';', '&', '"', '\'', ')', '}', '\n', '\t'];
            let end = text.find(delimiters).unwrap_or(text.len());
            text[..end].find("\\x0a").map_or(end, |line_end| line_end.min(end))
        }
    }
}

/// Writes the replacement of the value at the start of `value`, and returns what follows it.
fn redact_value<'t>(value: &'t str, out: &mut String) -> &'t str {
    let blank = value.len() - value.trim_start_matches(' ').len();
    let (lead, tail) = value.split_at(blank);
    let end = value_length(tail);
    if is_harmless(tail[..end].trim_matches('\\')) {
        return value;
    }
    out.push_str(lead);
    out.push_str(REDACTED);
    &tail[end..]
}

/// Writes a scheme and a secret as one replacement, and returns what follows.
fn authorization<'t>(value: &'t str, out: &mut String) -> &'t str {
    let rest = redact_value(value, out);
    // The scheme is the first word, the secret the second.
    let blank = rest.len() - rest.trim_start().len();
    let end = rest[blank..].find([' ', '\'', '"']).map_or(rest.len(), |end| blank + end);
    &rest[end..]
}

/// Writes `//user:password@host` with the password redacted, and returns what follows. `value` starts with
/// the slashes.
fn url_password<'t>(scheme: &str, value: &'t str, out: &mut String) -> &'t str {
    let end = value[2..].find(['/', ' ', '"', '\'', '?']).map_or(value.len(), |at| at + 2);
    let Some(at) = value[..end].rfind('@') else { return value };
    match value[2..at].find(':') {
        Some(colon) => {
            out.push_str(&value[..2 + colon + 1]);
            out.push_str(REDACTED);
        }
        // A token in the place of the user.
        None if scheme.ends_with("http") || scheme.ends_with("https") => {
            if &value[2..at] == "git" {
                return value;
            }
            out.push_str("//");
            out.push_str(REDACTED);
        }
        None => return value,
    }
    &value[at..]
}

/// `user:password@host` without a scheme: writes the replacement of the password, and returns what follows.
fn user_password<'t>(user: &str, value: &'t str, out: &mut String) -> &'t str {
    let stops = |c: char| c.is_whitespace() || "/@:\"'`,;()[]{}<>|".contains(c);
    let end = value.find(stops).unwrap_or(value.len());
    let host = value[end..].strip_prefix('@').unwrap_or("");
    let is_host = host.starts_with(|c: char| c.is_ascii_alphanumeric()) && !host.starts_with("sha256:");
    if end == 0 || !is_host || NOT_USERS.contains(&user) {
        return value;
    }
    out.push_str(REDACTED);
    &value[end..]
}

/// A signature in a URL, which is as good as a password.
fn is_signature(name: &str, value: &str) -> bool {
    let named = name == "sig" || name.ends_with("signature");
    named && value_length(value) >= 20
}
