//! Completions in real shells, and manual pages in a real formatter.

use std::path::Path;
use std::process::Command;

use crate::support::TRACER;
use crate::support::child::output;

/// Whether a program is installed. Reports that a test is skipped where it is not.
fn installed(program: &str) -> bool {
    let found = std::env::var_os("PATH")
        .is_some_and(|path| std::env::split_paths(&path).any(|dir| dir.join(program).is_file()));
    if !found {
        eprintln!("skipped: {program} is not installed");
    }
    found
}

/// A directory with the tool under its name, two sessions, and a file.
fn place() -> tempfile::TempDir {
    let place = tempfile::tempdir().expect("a directory");
    let bin = place.path().join("bin");
    std::fs::create_dir(&bin).expect("made");
    std::os::unix::fs::symlink(TRACER, bin.join("tracer-user")).expect("linked");
    std::fs::write(place.path().join("out.html"), "").expect("written");
    for id in ["ci-alpha", "ci-beta"] {
        let mut run = at(Path::new(TRACER), place.path());
        run.args(["run", "--no-kernel", "--quiet", "--session-id", id, "--", "true"]);
        assert!(output(&mut run).status.success());
    }
    place
}

fn at(program: &Path, place: &Path) -> Command {
    let path = std::env::var("PATH").unwrap_or_default();
    let mut command = Command::new(program);
    command
        .current_dir(place)
        .env("PATH", format!("{}:{path}", place.join("bin").display()))
        .env("TRACER_LOG_DIR", place.join("log"))
        .env("TRACER_TRACE_DIR", place.join("traces"));
    command
}

fn script(shell: &str, place: &Path) -> String {
    let output = output(Command::new(TRACER).args(["completions", shell]));
    assert!(output.status.success());
    let file = place.join(format!("script.{shell}"));
    std::fs::write(&file, output.stdout).expect("written");
    file.display().to_string()
}

/// What a shell offers for the last word, one per line, by a program that is given the words.
fn offered(shell: &str, program: &str, place: &Path, words: &[&str]) -> Vec<String> {
    let mut command = at(Path::new(shell), place);
    let flag = if shell == "zsh" { "-fc" } else { "-c" };
    let output = output(command.args([flag, program, "x"]).args(words).env("SCRIPT", script(shell, place)));
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.stderr.is_empty(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
    text.lines().map(|line| line.split('\t').next().unwrap_or_default().trim_end().to_owned()).collect()
}

/// Bash splits words at `=`, and calls the function with what it is to replace.
const BASH: &str = r#"
source "$SCRIPT"
COMP_WORDS=(tracer-user "$@") COMP_CWORD=$#
current=${COMP_WORDS[COMP_CWORD]}
[[ $current == "=" ]] && current=""
_tracer_user_complete tracer-user "$current" "${COMP_WORDS[COMP_CWORD - 1]}"
printf '%s\n' "${COMPREPLY[@]}"
"#;
const FISH: &str = r#"source $SCRIPT; complete -C "tracer-user $argv[2..]""#;
/// The completion system runs in line editors only, so its function that shows candidates is replaced.
const ZSH: &str = r#"
compdef() { :; }
_describe() { local candidate; for candidate in "${(@P)3}"; do print -r -- "${candidate%%:*}"; done }
words=(tracer-user "$@") CURRENT=$(($# + 1))
source "$SCRIPT"
_clap_dynamic_completer_tracer_user
"#;

#[test]
fn every_shell_completes_verbs_options_sessions_formats_and_kinds() {
    let place = place();
    for (shell, program) in [("bash", BASH), ("zsh", ZSH), ("fish", FISH)] {
        if !installed(shell) {
            continue;
        }
        let offered = |words: &[&str]| offered(shell, program, place.path(), words);
        assert_eq!(offered(&["sess"]), ["sessions"], "{shell}");
        assert_eq!(offered(&["run", "--stall"]), ["--stall-threshold"], "{shell}");
        assert_eq!(offered(&["sessions", "show", "ci-a"]), ["ci-alpha"], "{shell}");
        assert_eq!(offered(&["sessions", "show", "ci-"]), ["ci-beta", "ci-alpha"], "{shell}: newest first");
        assert_eq!(offered(&["schema", "pref"]), ["preflight"], "{shell}");
        assert_eq!(offered(&["run", "--report", "ma"]), ["markdown="], "{shell}");
        assert_eq!(offered(&["run", "--on-hang", "rel"]), ["relieve"], "{shell}");
        let own = std::process::id().to_string();
        assert!(offered(&["diagnose", "--pid", &own]).contains(&own), "{shell}");
    }
}

#[test]
fn the_part_after_an_equals_sign_is_completed() {
    let place = place();
    if installed("bash") {
        let offered = |words: &[&str]| offered("bash", BASH, place.path(), words);
        assert_eq!(offered(&["run", "--report", "html", "=", "out"]), ["out.html"]);
        assert_eq!(offered(&["run", "--on-hang", "=", "rel"]), ["relieve"]);
        assert_eq!(offered(&["run", "--on-hang", "="]).len(), 3);
    }
    for (shell, program) in [("zsh", ZSH), ("fish", FISH)] {
        if installed(shell) {
            let found = offered(shell, program, place.path(), &["run", "--report", "html=out"]);
            assert_eq!(found, ["html=out.html"], "{shell}");
        }
    }
}

#[test]
fn the_manual_pages_are_clean_and_complete() {
    let dir = tempfile::tempdir().expect("a directory");
    assert!(output(Command::new(TRACER).arg("man").arg("--dir").arg(dir.path())).status.success());
    let mut pages: Vec<_> =
        std::fs::read_dir(dir.path()).expect("pages").flatten().map(|it| it.path()).collect();
    pages.sort();
    assert!(pages.iter().any(|page| page.ends_with("tracer-user-sessions-list.1")), "{pages:?}");
    for page in &pages {
        let text = std::fs::read_to_string(page).expect("a page");
        for section in ["NAME", "SYNOPSIS", "EXIT STATUS", "ENVIRONMENT", "FILES", "EXAMPLES", "SEE ALSO"] {
            let heads = [format!(".SH {section}\n"), format!(".SH \"{section}\"\n")];
            assert!(heads.iter().any(|head| text.contains(head)), "{}: no {section}", page.display());
        }
    }
    if installed("mandoc") {
        let output = output(Command::new("mandoc").args(["-Tlint", "-Wall"]).args(&pages));
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    }
}
