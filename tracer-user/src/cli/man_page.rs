//! A manual page: what clap knows of a command, and the sections that it does not know.

use clap_mangen::Man;
use roff::{Roff, bold, italic, roman};

use super::verb_notes::{self, VerbNotes};

/// Where the tool reads and writes.
const FILES: [(&str, &str); 5] = [
    ("/dev/shm/tracer-user-UID", "Live traces, of the user with this id. --trace-dir chooses another place."),
    ("/var/log/tracer-user", "Finished sessions of root. --log-dir chooses another place."),
    ("~/.local/state/tracer-user", "Finished sessions of other users, unless $XDG_STATE_HOME is set."),
    (
        "/sys/fs/bpf/tracer-user",
        "What the kernel recorded for sessions of root, so that it outlives the tool.",
    ),
    ("/sys/fs/bpf/tracer-user-UID", "The same for another user, where root has made the directory."),
];

/// Variables that are read beside those of the options.
const ENVIRONMENT: [(&str, &str); 4] = [
    (
        "TRACER_NAME",
        "The value of the option --name, where it is not on the command line; empty counts as absent.",
    ),
    ("NO_COLOR, CLICOLOR, CLICOLOR_FORCE", "Whether text is colored. By default only on a terminal."),
    (
        "GITHUB_ACTIONS, GITHUB_STEP_SUMMARY",
        "Under GitHub Actions a hang becomes an annotation and a step summary.",
    ),
    (
        "XDG_STATE_HOME, XDG_RUNTIME_DIR",
        "Where sessions are kept, as the XDG Base Directory Specification says.",
    ),
];

/// When these texts were last revised. The date of a build would make every package differ.
const REVISED: &str = "2026-11-25";
/// The longest line of text in a page's source.
const MAX_COLUMNS: usize = 79;

/// The page of a command. `command` is built.
pub fn page(command: &clap::Command) -> std::io::Result<String> {
    let name = file_stem(command);
    let man = Man::new(command.clone())
        .title(name.to_uppercase())
        .date(REVISED)
        .source(concat!("tracer-user ", env!("CARGO_PKG_VERSION")))
        .manual("User Commands");
    let mut out = Vec::new();
    man.render_title(&mut out)?;
    man.render_name_section(&mut out)?;
    man.render_synopsis_section(&mut out)?;
    man.render_description_section(&mut out)?;
    if command.get_arguments().any(|arg| !arg.is_hide_set()) {
        man.render_options_section(&mut out)?;
    }
    if command.get_subcommands().any(|verb| !verb.is_hide_set()) {
        man.render_subcommands_section(&mut out)?;
    }
    let verb = name.strip_prefix("tracer-user").unwrap_or(&name).replace('-', " ");
    sections(verb_notes::of(verb.trim()), &name).to_writer(&mut out)?;
    Ok(tidy(&String::from_utf8_lossy(&out)))
}

/// The same page as `mandoc -Tlint` wants it: no long lines, no spaces at their ends, one break in one place.
fn tidy(page: &str) -> String {
    let mut out = String::new();
    let lines: Vec<&str> = page.lines().map(str::trim_end).collect();
    for (n, line) in lines.iter().enumerate() {
        let beside = [n.checked_sub(1), Some(n + 1)].into_iter().flatten().filter_map(|n| lines.get(n));
        if *line == ".br" && beside.into_iter().any(|line| line.is_empty()) {
            continue;
        }
        if line.is_empty() {
            out.push_str(".sp\n");
        } else if line.starts_with(['.', '\'']) {
            out.push_str(line);
            out.push('\n');
        } else {
            wrap(line, &mut out);
        }
    }
    out
}

/// Breaks a line of text between words. No line begins with a character that would make it a macro.
fn wrap(line: &str, out: &mut String) {
    let mut width = 0;
    for word in line.split(' ') {
        let is_text = !word.starts_with(['.', '\'']) && !word.is_empty();
        if width > 0 && is_text && width + 1 + word.len() > MAX_COLUMNS {
            out.push('\n');
            width = 0;
        } else if width > 0 {
            out.push(' ');
            width += 1;
        }
        out.push_str(word);
        width += word.len();
    }
    out.push('\n');
}

/// The name of a command's page, without the section.
pub fn file_stem(command: &clap::Command) -> String {
    command.get_display_name().unwrap_or_else(|| command.get_name()).to_owned()
}

fn sections(notes: Option<&VerbNotes>, name: &str) -> Roff {
    let mut roff = Roff::new();
    let program = [
        ("0", "Done, and nothing is found."),
        ("1", "A hang, a leftover or a degraded requirement is reported."),
        ("2", "The command line is invalid."),
        ("124, 126, 127", "As the page of tracer-user-run(1) says."),
        ("125", "The tool failed."),
    ];
    list(&mut roff, "EXIT STATUS", notes.map_or(&program[..], |notes| notes.exit));
    list(&mut roff, "ENVIRONMENT", &ENVIRONMENT);
    list(&mut roff, "FILES", &FILES);
    let demo = [
        ("tracer-user run -- make test", "Trace a job."),
        ("tracer-user diagnose --pid 4711", "Explain a job that hangs already."),
        ("tracer-user doctor", "Check this machine."),
    ];
    roff.control("SH", ["EXAMPLES"]);
    for (command, purpose) in notes.map_or(&demo[..], |notes| notes.examples) {
        roff.control("TP", []);
        roff.text([bold(*command)]);
        roff.text([roman(*purpose)]);
    }
    roff.control("SH", ["SEE ALSO"]);
    let others = ["tracer-user", "tracer-user-run", "tracer-user-diagnose", "tracer-user-doctor"];
    let others: Vec<_> = others.into_iter().filter(|other| *other != name).collect();
    for (n, other) in others.iter().enumerate() {
        let end = if n + 1 < others.len() { "(1)," } else { "(1)" };
        roff.text([bold(*other), roman(end)]);
    }
    roff
}

fn list(roff: &mut Roff, heading: &str, rows: &[(&str, &str)]) {
    roff.control("SH", [heading]);
    for (term, meaning) in rows {
        roff.control("TP", []);
        roff.text([italic(*term)]);
        roff.text([roman(*meaning)]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_has_short_lines_and_no_double_breaks() {
        let long = "word ".repeat(30);
        let tidied = tidy(&format!(".TP\n{long}\n.br\n\n.br\nsee .br and\n"));
        assert!(tidied.lines().all(|line| line.len() <= MAX_COLUMNS && !line.ends_with(' ')), "{tidied}");
        assert_eq!(tidied.matches("word").count(), 30);
        assert!(tidied.ends_with("\n.sp\nsee .br and\n"), "{tidied}");
        assert!(!tidy(&format!("{} .so /etc/passwd", "x".repeat(79))).contains("\n.so"));
    }
}
