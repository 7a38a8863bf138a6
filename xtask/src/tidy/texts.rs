//! Rules for all text files: no paths of one machine, no dead links, no foreign registries.

use std::path::{Component, Path, PathBuf};

use super::source::{Problem, Source};

/// Prefixes of paths that exist on one machine only. Composed at run time, so that this file does not contain
/// them.
fn machine_prefixes() -> [String; 3] {
    ["work", "root", "home"].map(|top| format!("/{top}/"))
}

/// Paths that exist on one machine only.
pub fn machine_paths(source: &Source) -> Vec<Problem> {
    let prefixes = machine_prefixes();
    let mut problems = Vec::new();
    for (index, line) in source.text.lines().enumerate() {
        for prefix in &prefixes {
            // After a name or a dot it is the rest of a relative path.
            let starts = line
                .match_indices(prefix.as_str())
                .any(|(at, _)| !line[..at].ends_with(|c: char| c.is_alphanumeric() || "._-}~*".contains(c)));
            if starts {
                problems.push(
                    source.problem(index + 1, format!("a path that exists on one machine only: `{prefix}`")),
                );
            }
        }
    }
    problems
}

/// Relative links in Markdown files whose target does not exist.
pub fn dead_links(root: &Path, source: &Source) -> Vec<Problem> {
    if source.path.extension().is_none_or(|extension| extension != "md") {
        return Vec::new();
    }
    let mut problems = Vec::new();
    for (index, line) in source.text.lines().enumerate() {
        for (_, after) in line.match_indices("](").map(|(at, open)| line.split_at(at + open.len())) {
            let target = after.split([')', '#', ' ']).next().unwrap_or_default();
            if target.is_empty() || target.contains("://") {
                continue;
            }
            let file = source.path.parent().unwrap_or(Path::new("")).join(target);
            if !root.join(within(&file)).exists() {
                problems.push(source.problem(index + 1, format!("dead link: {target}")));
            }
        }
    }
    problems
}

/// Files that Markdown names in backticks and that do not exist. Paths are relative to the root or to the
/// tool's sources. `NAME` stands for any name.
pub fn dead_paths(root: &Path, source: &Source) -> Vec<Problem> {
    if source.path.extension().is_none_or(|extension| extension != "md") {
        return Vec::new();
    }
    let mut problems = Vec::new();
    for (index, line) in source.text.lines().enumerate() {
        for name in line.split('`').skip(1).step_by(2).filter(|name| is_file_name(name)) {
            let exists = [root.to_path_buf(), root.join("tracer-user/src")]
                .iter()
                .any(|base| base.join(name).exists());
            if !exists {
                problems.push(source.problem(index + 1, format!("no such file: {name}")));
            }
        }
    }
    problems
}

fn is_file_name(name: &str) -> bool {
    let parts = ["core/", "session/", "store/", "cli/", "kernel/", "procfs_view/", "signals/"];
    let tops = ["tests/", "xtask/", "docs/", "tracer-user/", "tracer-ebpf/", "examples/"];
    let plain = name.chars().all(|c| c.is_alphanumeric() || "/._-".contains(c));
    plain
        && !name.contains("NAME")
        && !name.starts_with("target/")
        && parts.iter().chain(&tops).any(|top| name.starts_with(top))
}

/// The path without `..`.
fn within(path: &Path) -> PathBuf {
    let mut plain = PathBuf::new();
    for part in path.components() {
        match part {
            Component::ParentDir => drop(plain.pop()),
            Component::CurDir => {}
            other => plain.push(other),
        }
    }
    plain
}

/// Locked packages that do not come from crates.io.
pub fn foreign_registries(source: &Source) -> Vec<Problem> {
    if source.path != Path::new("Cargo.lock") {
        return Vec::new();
    }
    let of_packages = source.text.lines().enumerate().filter(|(_, line)| line.starts_with("source = "));
    let foreign = of_packages
        .filter(|(_, line)| !line.contains("registry+https://github.com/rust-lang/crates.io-index"));
    foreign.map(|(index, line)| source.problem(index + 1, format!("not from crates.io: {line}"))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(path: &str, text: &str) -> Source {
        Source { path: path.into(), text: text.into() }
    }

    #[test]
    fn machine_paths_are_found_where_they_begin() {
        let [work, root, home] = machine_prefixes();
        assert_eq!(machine_paths(&text("a", &format!("x\nsee {work}a and \"{root}b\""))).len(), 2);
        assert_eq!(machine_paths(&text("a", &format!("{home}me/x"))).len(), 1);
        assert!(machine_paths(&text("a", &format!("src{work}a, ..{root}b, $HOME{home}c"))).is_empty());
    }

    #[test]
    fn links_are_followed_from_their_file() {
        let here = Path::new(env!("CARGO_MANIFEST_DIR"));
        let page = text(
            "src/a.md",
            "[main](main.rs) [up](../Cargo.toml#x) [web](https://example.org) [none](none.rs)",
        );
        let found = dead_links(here, &page);
        assert_eq!(found.len(), 1);
        assert!(found[0].what.ends_with("none.rs"));
    }

    #[test]
    fn files_in_backticks_exist() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let page =
            text("a.md", "`xtask/src/lib.rs` `core/mod.rs` `cli/NAME.rs` `store/none.rs` `tests/` `core::x`");
        let found = dead_paths(&root, &page);
        assert_eq!(found.len(), 1);
        assert!(found[0].what.ends_with("store/none.rs"));
    }

    #[test]
    fn packages_come_from_crates_io() {
        let ours = "source = \"registry+https://github.com/rust-lang/crates.io-index\"\n";
        assert!(foreign_registries(&text("Cargo.lock", ours)).is_empty());
        assert_eq!(
            foreign_registries(&text("Cargo.lock", "source = \"git+https://example.org/x\"\n")).len(),
            1
        );
    }
}
