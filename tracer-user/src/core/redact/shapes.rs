//! Secrets that are known by their shape, whatever stands before them.
//!
//! The prefixes are those that the services document for their tokens, so that scanners find them.

use super::names::REDACTED;

/// What the rest of a token consists of, after its prefix.
#[derive(Clone, Copy)]
enum Rest {
    /// Letters, digits, `_`, `-`, `.` and `=`.
    Any,
    /// Upper case letters and digits.
    Upper,
    /// Hexadecimal digits in lower case.
    Hex,
    /// As `Any`, with a digit and letters of both cases: what no name of a program or branch looks like.
    Random,
}

/// Prefix, length of the rest at least, and what it consists of.
const PREFIXES: &[(&str, usize, Rest)] = &[
    ("AKIA", 16, Rest::Upper),
    ("ASIA", 16, Rest::Upper),
    ("ABIA", 16, Rest::Upper),
    ("ghp_", 20, Rest::Any),
    ("gho_", 20, Rest::Any),
    ("ghu_", 20, Rest::Any),
    ("ghs_", 20, Rest::Any),
    ("ghr_", 20, Rest::Any),
    ("github_pat_", 20, Rest::Any),
    ("glpat-", 16, Rest::Any),
    ("gldt-", 16, Rest::Any),
    ("glrt-", 16, Rest::Any),
    ("glptt-", 16, Rest::Any),
    ("glcbt-", 16, Rest::Any),
    ("glagent-", 16, Rest::Any),
    ("xoxb-", 10, Rest::Any),
    ("xoxp-", 10, Rest::Any),
    ("xoxa-", 10, Rest::Any),
    ("xoxr-", 10, Rest::Any),
    ("xoxs-", 10, Rest::Any),
    ("xoxe.", 10, Rest::Any),
    ("xapp-", 10, Rest::Any),
    ("sk-", 20, Rest::Random),
    ("sk_live_", 12, Rest::Any),
    ("sk_test_", 12, Rest::Any),
    ("rk_live_", 12, Rest::Any),
    ("whsec_", 16, Rest::Any),
    ("AIza", 35, Rest::Any),
    ("ya29.", 20, Rest::Any),
    ("GOCSPX-", 20, Rest::Any),
    ("npm_", 36, Rest::Any),
    ("pypi-", 40, Rest::Any),
    ("dckr_pat_", 20, Rest::Any),
    ("hf_", 30, Rest::Random),
    ("SG.", 40, Rest::Random),
    ("key-", 32, Rest::Hex),
    ("SK", 32, Rest::Hex),
    ("shpat_", 32, Rest::Hex),
    ("shpss_", 32, Rest::Hex),
    ("lin_api_", 32, Rest::Any),
    ("dop_v1_", 32, Rest::Hex),
    ("hvs.", 20, Rest::Any),
    ("hvb.", 20, Rest::Any),
    ("rubygems_", 40, Rest::Hex),
    ("NRAK-", 20, Rest::Upper),
    ("dt0c01.", 20, Rest::Any),
    ("PMAK-", 20, Rest::Any),
    ("figd_", 20, Rest::Any),
    ("ATATT3", 20, Rest::Any),
    ("tskey-", 16, Rest::Any),
    ("AGE-SECRET-KEY-1", 40, Rest::Upper),
    ("glsa_", 20, Rest::Any),
    ("glc_", 20, Rest::Random),
    ("pul-", 40, Rest::Hex),
    ("sbp_", 40, Rest::Hex),
    ("sntrys_", 20, Rest::Any),
    ("xkeysib-", 20, Rest::Any),
    ("gsk_", 20, Rest::Random),
    ("xai-", 20, Rest::Random),
    ("nvapi-", 20, Rest::Random),
    ("r8_", 30, Rest::Random),
    ("sq0atp-", 20, Rest::Any),
    ("EAACEdEose0cBA", 10, Rest::Any),
];

/// Web addresses whose path is a secret.
const WEBHOOKS: &[&str] =
    &["hooks.slack.com/services/", "discord.com/api/webhooks/", "discordapp.com/api/webhooks/"];

/// The text with all secrets of a known shape redacted.
pub fn redact(text: &str) -> String {
    let text = private_keys(text);
    let mut out = String::with_capacity(text.len());
    let mut rest = text.as_str();
    while !rest.is_empty() {
        let end = rest.find(|c| !is_token(c)).unwrap_or(rest.len());
        let (token, after) = rest.split_at(end);
        out.push_str(&word(token, &out));
        let next = after.chars().next().map_or(0, char::len_utf8);
        let (between, after) = after.split_at(next);
        out.push_str(between);
        rest = after;
    }
    out
}

fn is_token(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | '+' | '~')
}

/// A run of characters of a token; `before` is the text before it.
fn word(token: &str, before: &str) -> String {
    if WEBHOOKS
        .iter()
        .any(|hook| before.contains(hook) && !before.rsplit(hook).next().unwrap_or("").contains(' '))
        && token.len() > 3
    {
        return REDACTED.to_owned();
    }
    let bearer = before.trim_end();
    let follows_bearer = bearer.len() < before.len() && bearer.len() >= 6 && ends_with_bearer(bearer);
    if follows_bearer && token.len() >= 16 && token.contains(|c: char| c.is_ascii_digit()) {
        return REDACTED.to_owned();
    }
    if is_jwt(token) || is_telegram(token, before) {
        return REDACTED.to_owned();
    }
    let known = PREFIXES.iter().find_map(|(prefix, length, kind)| {
        let at = token.find(prefix)?;
        let begins = at == 0 || !token.as_bytes()[at - 1].is_ascii_alphanumeric();
        let rest = &token[at + prefix.len()..];
        (begins && rest.len() >= *length && consists_of(rest, *length, *kind)).then_some(at)
    });
    known.map_or_else(|| token.to_owned(), |at| format!("{}{REDACTED}", &token[..at]))
}

fn ends_with_bearer(text: &str) -> bool {
    text.as_bytes()[text.len() - 6..].eq_ignore_ascii_case(b"bearer")
}

fn consists_of(rest: &str, length: usize, kind: Rest) -> bool {
    let has = |wanted: fn(&u8) -> bool| rest.as_bytes().iter().any(wanted);
    let begins = |wanted: fn(&u8) -> bool| rest.as_bytes().iter().take(length).all(wanted);
    match kind {
        Rest::Any => true,
        Rest::Upper => begins(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit()),
        Rest::Hex => begins(|byte| byte.is_ascii_digit() || matches!(byte, b'a'..=b'f')),
        Rest::Random => has(u8::is_ascii_digit) && has(u8::is_ascii_uppercase) && has(u8::is_ascii_lowercase),
    }
}

/// A JSON Web Token: two or three parts in base64, the first a JSON object.
fn is_jwt(token: &str) -> bool {
    let mut parts = token.split('.');
    let head = parts.next().is_some_and(|part| part.starts_with("eyJ") && part.len() >= 12);
    head && parts.next().is_some_and(|part| part.len() >= 8)
}

/// The token of a Telegram bot: `123456789:AA` and 33 more.
fn is_telegram(token: &str, before: &str) -> bool {
    let Some(id) = before.strip_suffix(':') else { return false };
    let digits = id.bytes().rev().take_while(u8::is_ascii_digit).count();
    digits >= 8 && token.starts_with("AA") && token.len() >= 33
}

/// Private keys in PEM, to their end line or to the end of the text.
fn private_keys(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.find("-----BEGIN ") {
        let line = &rest[at + 5..];
        let Some(end) = line.find("-----").filter(|end| line[..*end].ends_with("PRIVATE KEY")) else {
            let (kept, after) = rest.split_at(at + 11);
            out.push_str(kept);
            rest = after;
            continue;
        };
        let body = at + 5 + end + 5;
        out.push_str(&rest[..body]);
        out.push_str(REDACTED);
        rest = &rest[body..];
        rest = rest.find("-----END").map_or("", |end| &rest[end..]);
    }
    out + rest
}
