//! Dependency rules: the layers of `tracer-user`, its pure core, and the places where `unsafe` is allowed.

use std::path::Path;

use super::paths::NamedPath;
use super::rust_file::RustFile;
use super::source::Problem;

/// The four layers that touch the machine.
const SHELLS: &[&str] = &["kernel", "procfs_view", "store", "signals"];

/// The layers that a layer may use besides itself: `main → cli → session → shells → core`.
fn may_use(layer: &str) -> &'static [&'static str] {
    match layer {
        "main" => &["api", "cli", "procfs_view", "core"],
        "api" => &["kernel", "procfs_view", "core"],
        "cli" => &["session", "core"],
        "session" => &["kernel", "procfs_view", "store", "signals", "core"],
        shell if SHELLS.contains(&shell) => &["core"],
        _ => &[],
    }
}

const LAYERS: &[&str] = &["api", "cli", "session", "kernel", "procfs_view", "store", "signals", "core"];

/// Paths that core never names: everything that accesses the machine or its clocks.
const IMPURE: &[&str] = &[
    "std::fs",
    "std::env",
    "std::process",
    "std::thread",
    "std::net::TcpListener",
    "std::net::TcpStream",
    "std::net::UdpSocket",
    "std::os::fd",
    "std::os::linux",
    "std::os::unix::fs",
    "std::os::unix::io",
    "std::os::unix::net",
    "std::os::unix::process",
    "std::io::stdin",
    "std::io::stdout",
    "std::io::stderr",
    "std::time::Instant",
    "std::time::SystemTime",
    "jiff::Zoned::now",
    "jiff::Timestamp::now",
    "Timestamp::now",
    "Zoned::now",
    "aya",
    "aya_log",
    "procfs",
    "tokio",
    "rustix",
    "libc",
    "nix",
];
const IMPURE_MACROS: &[&str] = &["print", "println", "eprint", "eprintln", "dbg"];

/// Crates that only one layer may use.
const OWNED: &[(&str, &str)] = &[("aya", "kernel"), ("aya_log", "kernel"), ("procfs", "procfs_view")];

/// `linkat` takes an open file by its name below `/proc/self/fd`, and reads nothing there (open(2),
/// O_TMPFILE).
const NAMES_DESCRIPTORS: &str = "store/fsops.rs";

/// Places where system calls or kernel memory need `unsafe`.
const UNSAFE_PLACES: &[&str] = &[
    "tracer-user/src/kernel/",
    "tracer-user/src/procfs_view/reader/",
    "tracer-user/src/procfs_view/sys.rs",
    "tracer-user/src/signals/",
    "tracer-user/src/store/",
    "tracer-ebpf/src/programs/",
    "tracer-ebpf/src/main.rs",
    "tests/",
];

/// The number of `unsafe` words in the parts of the tool, at most. The tool runs as root: another one needs
/// an argument here, beside the one at the block.
const UNSAFE_COUNTS: &[(&str, usize)] = &[
    ("tracer-ebpf/src/", 29),
    ("tracer-user/src/kernel/", 14),
    ("tracer-user/src/procfs_view/", 15),
    ("tracer-user/src/signals/", 38),
    ("tracer-user/src/store/", 0),
];

/// Parts of the tool with more `unsafe` than is listed.
pub fn unsafe_counts(files: &[RustFile]) -> Vec<Problem> {
    let more_than = |(part, listed): &(&str, usize)| {
        let of_it = files.iter().filter(|it| it.source.path.to_string_lossy().starts_with(part));
        let (mut count, mut last) = (0, None);
        for file in of_it.filter(|file| !file.test) {
            count += file.facts.unsafe_lines.len();
            last = file.facts.unsafe_lines.last().map(|line| (file, *line)).or(last);
        }
        let (file, line) = last.filter(|_| count > *listed)?;
        let what = format!("{count} `unsafe` in {part}, and {listed} are listed in xtask/src/tidy/layers.rs");
        Some(file.source.problem(line, what))
    };
    UNSAFE_COUNTS.iter().filter_map(more_than).collect()
}

/// Violations of the dependency rules.
pub fn problems(files: &[RustFile]) -> Vec<Problem> {
    let mut problems = Vec::new();
    for RustFile { source, facts, test } in files {
        if !UNSAFE_PLACES.iter().any(|place| source.path.to_string_lossy().starts_with(place)) {
            let lines = facts.unsafe_lines.iter();
            problems.extend(lines.map(|line| source.problem(*line, "`unsafe` is not allowed here")));
        }
        let Some(module) = module_of(&source.path).filter(|_| !test) else { continue };
        let layer = module.first().map_or("main", String::as_str);
        for named in &facts.paths {
            let absolute = resolve(&module, named);
            problems.extend(wrong_with(layer, &absolute).map(|what| source.problem(named.line, what)));
        }
        if layer == "core" {
            let printing = facts.macros.iter().filter(|(name, _)| IMPURE_MACROS.contains(&name.as_str()));
            problems.extend(
                printing.map(|(name, line)| source.problem(*line, format!("core does not print: `{name}!`"))),
            );
        }
        if layer != "procfs_view" && !source.path.ends_with(NAMES_DESCRIPTORS) {
            // A message has spaces, a path has none.
            let reads =
                facts.strings.iter().filter(|(text, _)| text.starts_with("/proc") && !text.contains(' '));
            let problem = |(text, line): &(String, usize)| {
                source.problem(*line, format!("only procfs_view reads /proc: {text:?}"))
            };
            problems.extend(reads.map(problem));
        }
    }
    problems
}

/// The problem with naming `path` in `layer`, if any.
fn wrong_with(layer: &str, path: &[String]) -> Option<String> {
    let shown = path.join("::");
    if path.first().is_some_and(|first| first == "crate" || first == "tracer_user") {
        let used = path.get(1).map(String::as_str).filter(|used| LAYERS.contains(used))?;
        let forbidden = used != layer && !may_use(layer).contains(&used);
        return forbidden.then(|| format!("{layer} must not use {used}: `{shown}`"));
    }
    let below = |parent: &str| {
        shown == parent || shown.strip_prefix(parent).is_some_and(|rest| rest.starts_with("::"))
    };
    if layer == "core" && IMPURE.iter().any(|impure| below(impure)) {
        return Some(format!("core is pure: `{shown}`"));
    }
    let (owned, owner) = OWNED.iter().find(|(owned, _)| below(owned))?;
    (layer != *owner).then(|| format!("only {owner} may use {owned}: `{shown}`"))
}

/// The module path of a file of the library, such as `["core", "event"]`; empty for the crate roots.
fn module_of(path: &Path) -> Option<Vec<String>> {
    let inner = path.strip_prefix("tracer-user/src").ok()?.with_extension("");
    let mut module: Vec<String> = inner.iter().map(|part| part.to_string_lossy().into_owned()).collect();
    if module.last().is_some_and(|last| last == "mod") || module == ["lib"] || module == ["main"] {
        module.pop();
    }
    Some(module)
}

/// Makes `self` and `super` absolute.
pub fn resolve(module: &[String], named: &NamedPath) -> Vec<String> {
    let is = |segment: &String, word: &str| segment == word;
    if !named.segments.first().is_some_and(|first| is(first, "self") || is(first, "super")) {
        return named.segments.clone();
    }
    let supers = named.segments.iter().filter(|segment| is(segment, "super")).count();
    let rest = named.segments.iter().skip_while(|segment| is(segment, "self") || is(segment, "super"));
    let up = supers.saturating_sub(named.depth);
    let kept = module.len().saturating_sub(up);
    std::iter::once("crate".to_string()).chain(module[..kept].iter().cloned()).chain(rest.cloned()).collect()
}

#[cfg(test)]
mod tests {
    use super::super::rust_file;
    use super::super::source::Source;
    use super::*;

    fn found(path: &str, text: &str) -> Vec<String> {
        let source = Source { path: path.into(), text: text.into() };
        let files = rust_file::read(std::slice::from_ref(&source)).unwrap();
        problems(&files).into_iter().map(|problem| problem.what).collect()
    }

    #[test]
    fn core_is_pure() {
        let file = "tracer-user/src/core/a.rs";
        assert_eq!(found(file, "use std::fs;"), ["core is pure: `std::fs`"]);
        assert_eq!(found(file, "fn f() { let _ = jiff::Timestamp::now(); }").len(), 1);
        assert_eq!(found(file, "fn f() { println!(); }"), ["core does not print: `println!`"]);
        assert_eq!(found(file, "use std::fmt; use jiff::Timestamp; use tracer_ebpf::wire::Header;"), [""; 0]);
        assert_eq!(found(file, "#[cfg(test)] mod tests { use std::fs; }"), [""; 0]);
    }

    #[test]
    fn shells_do_not_use_each_other_however_it_is_written() {
        let file = "tracer-user/src/store/sidecar.rs";
        for text in [
            "use crate::kernel::Pins;",
            "use super::super::kernel::Pins;",
            "fn f() { crate::kernel::pins(); }",
        ] {
            assert!(found(file, text)[0].starts_with("store must not use kernel"), "{text}");
        }
        assert_eq!(
            found(file, "use crate::core::event::Event; use super::lock; use crate::store::lock;"),
            [""; 0]
        );
        let inline = "mod inner { use super::super::signals; }";
        assert_eq!(found("tracer-user/src/store/mod.rs", inline).len(), 1);
    }

    #[test]
    fn dependencies_run_one_way() {
        assert_eq!(found("tracer-user/src/core/a.rs", "use crate::session::run;").len(), 1);
        assert_eq!(found("tracer-user/src/session/run.rs", "use crate::cli::exit;").len(), 1);
        assert_eq!(found("tracer-user/src/cli/run.rs", "use crate::session::run;"), [""; 0]);
        assert_eq!(found("tracer-user/src/session/run.rs", "use crate::store; use crate::kernel;"), [""; 0]);
    }

    #[test]
    fn crates_and_unsafe_have_their_places() {
        assert_eq!(found("tracer-user/src/session/run.rs", "use aya::Ebpf;").len(), 1);
        assert_eq!(found("tracer-user/src/kernel/load.rs", "use aya::Ebpf; fn f() { unsafe {} }"), [""; 0]);
        assert_eq!(found("tracer-user/src/session/run.rs", "fn f() { unsafe {} }").len(), 1);
    }

    #[test]
    fn more_unsafe_than_listed_is_a_problem() {
        let blocks = |count: usize| {
            let text = format!("//! X\nfn f() {{ {} }}", "unsafe {} ".repeat(count));
            let source = Source { path: "tracer-user/src/procfs_view/sys.rs".into(), text };
            unsafe_counts(&rust_file::read(std::slice::from_ref(&source)).unwrap()).len()
        };
        assert_eq!((blocks(15), blocks(16)), (0, 1));
    }

    #[test]
    fn only_procfs_view_reads_proc() {
        let text = "/// Reads /proc/self.\nfn f() { g(\"/proc/self\"); format!(\"/proc/{}\", 1); h(\"/proc is not mounted\"); }";
        assert_eq!(found("tracer-user/src/session/run.rs", text).len(), 2);
        assert_eq!(found("tracer-user/src/procfs_view/a.rs", text), [""; 0]);
    }
}
