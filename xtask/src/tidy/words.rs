//! Words and comment lines: the vocabulary of the [glossary](../../../docs/glossary.md), and comments that
//! fit a window.

use std::path::Path;

use super::source::{Problem, Source};

/// Comment lines are at most this many columns wide.
const MAX_COLUMNS: usize = 110;

/// Words that this repository does not use, in any inflection that is listed, and what to write instead.
const REFUSED: &[(&[&str], &str)] = &[
    (&["hope", "hopes"], "liveness"),
    (&["ways out", "way out"], "alternatives"),
    (&["keeper", "keepers"], "recorder, owner or holder"),
    (&["ladder", "ladders", "climb", "climbs", "climbed"], "escalation"),
    (&["rung", "rungs"], "step"),
    (&["lookout"], "membership poller"),
    (&["told"], "reported, recorded or returned"),
    (&["whoever"], "a process that, a caller that"),
    (&["nobody knows"], "unknown"),
    (&["heir", "heirs"], "a process that inherited"),
    (&["story", "stories"], "finding, explanation"),
    (&["kin"], "process table, relatives"),
    (&["be had"], "available"),
    (&["so lately"], "more recently than this"),
    (&["for so long"], "for this long"),
    (&["colour", "colours", "coloured"], "color"),
    (&["licence", "licences"], "license"),
];

/// Files whose language is checked.
const EXTENSIONS: [&str; 7] = ["rs", "md", "py", "toml", "yml", "sh", "json"];

/// Refused words in code, comments and documents.
pub fn refused_words(source: &Source) -> Vec<Problem> {
    // This file lists them.
    if !is_checked(&source.path) || source.path.ends_with("tidy/words.rs") {
        return Vec::new();
    }
    let mut problems = Vec::new();
    for (index, line) in source.text.lines().enumerate() {
        let padded = format!(" {} ", words(line).join(" "));
        for (refused, instead) in REFUSED {
            for word in refused.iter().filter(|word| padded.contains(&format!(" {word} "))) {
                problems.push(source.problem(index + 1, format!("the word `{word}`: write {instead}")));
            }
        }
    }
    problems
}

/// Comment lines of Rust and Python that are too wide. A line of one word, such as an address, may be wider.
pub fn wide_comments(source: &Source) -> Vec<Problem> {
    let mark = match source.path.extension().and_then(|extension| extension.to_str()) {
        Some("rs") => "//",
        Some("py") => "#",
        _ => return Vec::new(),
    };
    if !is_checked(&source.path) {
        return Vec::new();
    }
    let wide = source.text.lines().enumerate().filter(|(_, line)| {
        let comment = line.trim_start();
        comment.starts_with(mark)
            && line.chars().count() > MAX_COLUMNS
            && comment.split_whitespace().count() > 2
    });
    wide.map(|(index, line)| {
        let columns = line.chars().count();
        source.problem(index + 1, format!("a comment of {columns} columns, the limit is {MAX_COLUMNS}"))
    })
    .collect()
}

fn is_checked(path: &Path) -> bool {
    let extension = path.extension().and_then(|extension| extension.to_str()).unwrap_or_default();
    EXTENSIONS.contains(&extension)
}

/// The words of a line in lower case; identifiers in snake case and camel case are split.
fn words(line: &str) -> Vec<String> {
    let mut words: Vec<String> = Vec::new();
    let mut before = ' ';
    for letter in line.chars() {
        if letter.is_alphabetic() {
            let begins = !before.is_alphabetic() || (letter.is_uppercase() && before.is_lowercase());
            if begins {
                words.push(String::new());
            }
            if let Some(word) = words.last_mut() {
                word.extend(letter.to_lowercase());
            }
        }
        before = letter;
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(path: &str, text: &str) -> Source {
        Source { path: path.into(), text: text.into() }
    }

    #[test]
    fn refused_words_are_found_in_identifiers_and_phrases() {
        let text =
            "struct HopeOf;\nfn was_told() {}\n// it cannot be had\n// a shoulder, Hopewell, bee had\n";
        let lines: Vec<usize> =
            refused_words(&source("docs/a.rs", text)).iter().map(|problem| problem.line).collect();
        assert_eq!(lines, [1, 2, 3]);
    }

    #[test]
    fn wide_comments_are_found_unless_they_are_one_word() {
        let (long, word) = ("x ".repeat(60), "x".repeat(120));
        let text = format!("// {long}\n// {word}\nlet a = \"{long}\";\n");
        assert_eq!(wide_comments(&source("docs/a.rs", &text)).len(), 1);
        assert_eq!(wide_comments(&source("a.py", &format!("# {long}\n"))).len(), 1);
        assert!(wide_comments(&source("a.md", &format!("# {long}\n"))).is_empty());
    }
}
