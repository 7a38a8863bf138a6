//! Names whose values are secrets: of variables, options, headers and JSON members.

/// The replacement for a secret.
pub const REDACTED: &str = "***";

/// A part of a name that ends in one of these names a secret: `PGPASSWORD`, `--dbPassword`, `_authToken`.
const ENDINGS: &[&str] = &[
    "password",
    "passwd",
    "passphrase",
    "secret",
    "token",
    "apikey",
    "accesskey",
    "privatekey",
    "credential",
];
/// A part of a name that is one of these names a secret.
const WORDS: &[&str] =
    &["credentials", "creds", "pass", "pwd", "key", "bearer", "authorization", "cookie", "jwt"];
/// Other words than those above that end in `pass`.
const NOT_PASS: &[&str] = &["bypass", "compass", "trespass", "surpass", "multipass", "overpass", "onepass"];
/// What qualifies a key that opens nothing.
const OPEN_KEYS: &[&str] = &[
    "sort",
    "primary",
    "foreign",
    "cache",
    "partition",
    "group",
    "row",
    "public",
    "host",
    "map",
    "hot",
    "order",
    "shard",
    "idempotency",
    "routing",
    "object",
    "bucket",
    "index",
];
/// A name that ends in one of these says something about a secret, and is none: `TOKEN_LIMIT`, `--key-file`,
/// `StrictHostKeyChecking`.
const ABOUT: &[&str] = &[
    "count",
    "limit",
    "type",
    "name",
    "names",
    "length",
    "size",
    "file",
    "files",
    "path",
    "url",
    "uri",
    "dir",
    "ttl",
    "expiry",
    "expires",
    "id",
    "max",
    "min",
    "enabled",
    "disabled",
    "checking",
    "policy",
    "timeout",
    "mode",
    "algorithms",
    "user",
    "username",
    "version",
    "seconds",
    "env",
    "format",
    "prefix",
    "index",
    "budget",
    "required",
    "rotation",
    "exchange",
    "types",
    "bits",
    "stdin",
    "command",
    "cmd",
    "helper",
    "store",
];
/// A name that begins with one of these counts secrets.
const COUNTS: &[&str] = &["max", "min", "num", "no", "n", "total", "count"];
/// Values that are switches, whatever their name.
const SWITCHES: &[&str] = &[
    "true", "false", "yes", "no", "on", "off", "none", "null", "0", "1", "auto", "required", "optional",
    "prompt", "ask", "never", "always", "default", "disabled", "enabled", "inherit",
];

/// The value of this name is a secret.
pub fn names_a_secret(name: &str) -> bool {
    let parts = parts(name);
    let (Some(first), Some(last)) = (parts.first(), parts.last()) else { return false };
    if ABOUT.contains(&last.as_str()) || (parts.len() > 1 && COUNTS.contains(&first.as_str())) {
        return false;
    }
    parts.iter().enumerate().any(|(at, part)| {
        if part == "key" {
            // A key in the middle of a name is mostly about one.
            let before = at.checked_sub(1).and_then(|before| parts.get(before));
            return at + 1 == parts.len() && !before.is_some_and(|it| OPEN_KEYS.contains(&it.as_str()));
        }
        let passes = part.ends_with("pass") && !NOT_PASS.contains(&part.as_str());
        passes || WORDS.contains(&part.as_str()) || ENDINGS.iter().any(|ending| part.ends_with(ending))
    })
}

/// A value that is in no case the secret itself: a switch, a path, or the name of a variable.
pub fn is_harmless(value: &str) -> bool {
    let value = value.trim_matches(['"', '\'']);
    let reference = value.strip_prefix('$').and_then(|rest| rest.chars().next());
    value.is_empty()
        || SWITCHES.contains(&value.to_ascii_lowercase().as_str())
        || reference.is_some_and(|c| c.is_alphabetic() || matches!(c, '_' | '{' | '('))
        || (value.starts_with('<') && value.ends_with('>'))
        || is_path(value)
}

fn is_path(value: &str) -> bool {
    let rooted = ["/", "./", "../", "~/"].iter().any(|root| value.starts_with(root));
    let named = [".pem", ".key", ".crt", ".pub", ".txt", ".json"].iter().any(|end| value.ends_with(end));
    // Base64 may begin with a slash: a path has no padding, and no plus sign.
    (rooted || named) && !value.contains(['+', '=', '@'])
}

/// The parts of a name, in lower case: split at punctuation and in camelCase.
fn parts(name: &str) -> Vec<String> {
    let mut parts: Vec<String> = vec![String::new()];
    let mut last_lower = false;
    for c in name.chars() {
        if !c.is_alphanumeric() || (c.is_uppercase() && last_lower) {
            parts.push(String::new());
        }
        if c.is_alphanumeric()
            && let Some(part) = parts.last_mut()
        {
            part.extend(c.to_lowercase());
        }
        last_lower = c.is_lowercase();
    }
    parts.retain(|part| !part.is_empty());
    parts
}
