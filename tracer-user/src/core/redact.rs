//! Redacts secrets in command lines: what follows words such as token, password, secret or key becomes `***`.

use super::text::ByteString;

/// The replacement for a secret.
const REDACTED: &str = "***";

/// The words whose value is a secret when they are a part of a name: `GITHUB_TOKEN`, `--api-key`, `apiKey`.
const WORDS: &[&str] = &[
    "token",
    "password",
    "passwd",
    "passphrase",
    "secret",
    "apikey",
    "accesskey",
    "privatekey",
    "credential",
    "credentials",
    "key",
    "pwd",
];

/// An argv for reports: printable, secrets redacted.
pub fn argv(words: &[ByteString]) -> Vec<String> {
    let mut out = Vec::with_capacity(words.len());
    let mut next_is_secret = false;
    for word in words {
        let text = word.printable();
        if std::mem::take(&mut next_is_secret) && !text.starts_with('-') {
            out.push(REDACTED.to_owned());
            continue;
        }
        next_is_secret = text.starts_with('-') && !text.contains(['=', ' ']) && names_a_secret(&text);
        out.push(line(&text));
    }
    out
}

/// Text in which `name=value` and `name: value` pairs of secret names, bearer tokens and passwords in URLs
/// are redacted.
pub fn line(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(['=', ':']) {
        let (before, after) = rest.split_at(at);
        let name_start = before
            .rfind(|c: char| !(c.is_alphanumeric() || c == '_' || c == '-' || c == '.'))
            .map_or(0, |i| i + before[i..].chars().next().map_or(1, char::len_utf8));
        let name = &before[name_start..];
        let (separator, value) = after.split_at(1);
        out.push_str(before);
        out.push_str(separator);
        rest = value;
        if separator == ":" && value.starts_with("//") {
            rest = url_password(value, &mut out);
        } else if names_a_secret(name) {
            rest = redact_value(value, &mut out);
        } else if name.eq_ignore_ascii_case("authorization") {
            rest = redact_value(value, &mut out);
            // The scheme is the first word, the secret the second.
            let blank = rest.len() - rest.trim_start().len();
            let secret_end = rest[blank..].find([' ', '\'', '"']).map_or(rest.len(), |i| blank + i);
            rest = &rest[secret_end..];
        }
    }
    out.push_str(rest);
    out
}

/// Writes the replacement of the value at the start of `value`, and returns what follows it.
fn redact_value<'t>(value: &'t str, out: &mut String) -> &'t str {
    let blank = value.len() - value.trim_start().len();
    let (lead, tail) = value.split_at(blank);
    out.push_str(lead);
    let end = match tail.chars().next() {
        None => return tail,
        Some(quote @ ('"' | '\'')) => tail[1..].find(quote).map_or(tail.len(), |i| i + 2),
        Some(_) => tail.find([' ', ',', ';', '&', '"', '\'', ')', '\n', '\t']).unwrap_or(tail.len()),
    };
    if end > 0 {
        out.push_str(REDACTED);
    }
    &tail[end..]
}

/// Writes `//user:password@host` with the password redacted, and returns what follows. `value` starts with
/// the slashes.
fn url_password<'t>(value: &'t str, out: &mut String) -> &'t str {
    let end = value[2..].find(['/', ' ', '"', '\'', '?']).map_or(value.len(), |i| i + 2);
    let Some(at) = value[..end].rfind('@') else { return value };
    match value[2..at].find(':') {
        Some(colon) => {
            out.push_str(&value[..2 + colon + 1]);
            out.push_str(REDACTED);
        }
        // A token in the place of the user.
        None => {
            out.push_str("//");
            out.push_str(REDACTED);
        }
    }
    &value[at..]
}

/// A part of the name, split at punctuation and in camelCase, is a word whose value is a secret.
fn names_a_secret(name: &str) -> bool {
    let mut parts: Vec<String> = Vec::new();
    let mut part = String::new();
    let mut last_lower = false;
    for c in name.chars() {
        if !c.is_alphanumeric() || (c.is_uppercase() && last_lower) {
            parts.push(std::mem::take(&mut part));
        }
        if c.is_alphanumeric() {
            part.extend(c.to_lowercase());
        }
        last_lower = c.is_lowercase();
    }
    parts.push(part);
    parts.iter().any(|p| WORDS.contains(&p.as_str()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn redacted(words: &[&str]) -> Vec<String> {
        argv(&words.iter().map(|w| ByteString::from(*w)).collect::<Vec<_>>())
    }

    #[test]
    fn values_after_secret_words_are_redacted() {
        assert_eq!(redacted(&["x", "--token", "abc", "y"]), ["x", "--token", "***", "y"]);
        assert_eq!(redacted(&["--api-key=abc"]), ["--api-key=***"]);
        assert_eq!(redacted(&["env", "GITHUB_TOKEN=abc", "run"]), ["env", "GITHUB_TOKEN=***", "run"]);
        assert_eq!(
            redacted(&["curl", "-H", "Authorization: Bearer abc"]),
            ["curl", "-H", "Authorization: ***"]
        );
        assert_eq!(
            redacted(&["git", "clone", "https://u:abc@host/x"]),
            ["git", "clone", "https://u:***@host/x"]
        );
        assert_eq!(redacted(&["git", "clone", "https://abc@host/x"]), ["git", "clone", "https://***@host/x"]);
        assert_eq!(
            redacted(&["sh", "-c", "DB_PASSWORD='a b' run --dbPassword=abc -x"]),
            ["sh", "-c", "DB_PASSWORD=*** run --dbPassword=*** -x"]
        );
    }

    #[test]
    fn other_words_stay() {
        assert_eq!(redacted(&["job.py", "role=owner", "--monkey=x"]), ["job.py", "role=owner", "--monkey=x"]);
        assert_eq!(redacted(&["a=b:c", "https://host:80/p"]), ["a=b:c", "https://host:80/p"]);
        assert_eq!(redacted(&["--token", "--other", "x"]), ["--token", "--other", "x"]);
    }

    proptest! {
        #[test]
        fn any_text_is_redacted_without_panic(text in "\\PC{0,40}[=:]?[a-z@/ '\"é]{0,20}") {
            line(&text);
        }

        #[test]
        fn the_secret_never_appears(secret in "[A-Z0-9]{8,20}", word in "(token|PASSWORD|api_key|clientSecret)") {
            let shown = line(&format!("a {word}={secret} b"));
            prop_assert!(!shown.contains(&secret));
            let argv = redacted(&[&format!("--{word}"), &secret]);
            prop_assert!(!argv.join(" ").contains(&secret));
        }
    }
}
