//! Import circles: files of a crate that need each other cannot be read, tested or moved one at a time.
//!
//! A file imports another if one of its paths leads there, outside of test code. A re-export is no import by
//! itself: a path through it leads to the file that defines the item. So a parent module may re-export its
//! children, and they may use each other through it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use super::items::{self, Items};
use super::layers::resolve;
use super::paths::NamedPath;
use super::pending;
use super::rust_file::RustFile;
use super::source::{Problem, Source};

/// A module path, such as `["core", "event"]`.
type Module = Vec<String>;

/// The files of one crate.
struct Crate<'a> {
    files: BTreeMap<Module, File<'a>>,
}

struct File<'a> {
    source: &'a Source,
    paths: &'a [NamedPath],
    items: Items,
}

/// Circles among the files of the crate whose sources are below `root`.
pub fn problems(root: &str, rust_files: &[RustFile]) -> Result<Vec<Problem>> {
    let mut files = BTreeMap::new();
    for RustFile { source, facts, .. } in rust_files.iter().filter(|file| !file.test) {
        let Some(module) = module_below(root, &source.path) else { continue };
        let items =
            items::find(&source.text).with_context(|| format!("cannot parse {}", source.path.display()))?;
        files.insert(module, File { source, paths: &facts.paths, items });
    }
    let this = Crate { files };
    let imports: BTreeMap<&Module, BTreeSet<&Module>> =
        this.files.iter().map(|(module, file)| (module, this.imports(module, file))).collect();
    let circles = circles(&imports);
    let new = circles.iter().filter_map(|circle| {
        let paths: Vec<&Path> =
            circle.iter().map(|module| this.files[*module].source.path.as_path()).collect();
        let known = pending::CIRCLES
            .iter()
            .any(|known| paths.iter().all(|path| known.iter().any(|name| path.ends_with(name))));
        let names: Vec<String> = paths.iter().map(|path| path.display().to_string()).collect();
        (!known).then(|| {
            this.files[circle[0]].source.problem(0, format!("imports in a circle: {}", names.join(", ")))
        })
    });
    Ok(new.collect())
}

impl Crate<'_> {
    fn imports(&self, module: &Module, file: &File) -> BTreeSet<&Module> {
        let imported = file.paths.iter().filter(|path| !path.reexport).filter_map(|path| {
            let absolute = self.absolute(module, &resolve(module, path))?;
            self.defining(&absolute, 0)
        });
        imported.filter(|imported| *imported != module).collect()
    }

    /// The path from the crate's root, or `None` if it leads out of the crate.
    fn absolute(&self, module: &Module, path: &[String]) -> Option<Vec<String>> {
        match path.split_first()? {
            (first, rest) if first == "crate" => Some(rest.to_vec()),
            (first, _) => {
                let child = [&module[..], std::slice::from_ref(first)].concat();
                self.files.contains_key(&child).then(|| [&module[..], path].concat())
            }
        }
    }

    /// The module that defines what an absolute path names. Re-exports are followed, at most eight in a row.
    fn defining(&self, path: &[String], followed: u32) -> Option<&Module> {
        let length = (0..=path.len()).rev().find(|length| self.files.contains_key(&path[..*length]))?;
        let (module, file) = self.files.get_key_value(&path[..length])?;
        let Some(item) = path.get(length).filter(|item| !file.items.defined.contains(*item)) else {
            return Some(module);
        };
        if followed == 8 {
            return Some(module);
        }
        let follow = |target: &[String]| {
            let named = NamedPath { segments: target.to_vec(), depth: 0, line: 0, reexport: false };
            let absolute = self.absolute(module, &resolve(module, &named))?;
            self.defining(&absolute, followed + 1)
        };
        if let Some(target) = file.items.reexported.get(item) {
            return follow(target).or(Some(module));
        }
        let globs = file.items.globs.iter().filter_map(|glob| {
            let target = [&glob[..], std::slice::from_ref(item)].concat();
            let found = follow(&target)?;
            self.files[found].items.defined.contains(item).then_some(found)
        });
        globs.into_iter().next().or(Some(module))
    }
}

/// The module of a file below `root`; `None` for other files and for `main.rs`, which is a crate of its own.
fn module_below(root: &str, path: &Path) -> Option<Module> {
    let inner = path.strip_prefix(root).ok()?;
    if inner == Path::new("main.rs") {
        return None;
    }
    let inner: PathBuf = inner.with_extension("");
    let mut module: Module = inner.iter().map(|part| part.to_string_lossy().into_owned()).collect();
    if module.last().is_some_and(|last| last == "mod") || module == ["lib"] {
        module.pop();
    }
    Some(module)
}

/// Sets of modules that can reach each other, each sorted.
fn circles<'a>(imports: &BTreeMap<&'a Module, BTreeSet<&'a Module>>) -> BTreeSet<Vec<&'a Module>> {
    let reached: BTreeMap<&Module, BTreeSet<&Module>> =
        imports.keys().map(|module| (*module, reach(module, imports))).collect();
    let circle_of = |module: &&'a Module| {
        let mutual = reached[*module].iter().filter(|other| reached[**other].contains(*module));
        mutual.copied().collect::<Vec<_>>()
    };
    imports.keys().filter(|module| reached[**module].contains(**module)).map(circle_of).collect()
}

fn reach<'a>(from: &'a Module, imports: &BTreeMap<&'a Module, BTreeSet<&'a Module>>) -> BTreeSet<&'a Module> {
    let mut reached = BTreeSet::new();
    let mut next = vec![from];
    while let Some(module) = next.pop() {
        next.extend(imports[module].iter().copied().filter(|imported| reached.insert(*imported)));
    }
    reached
}

#[cfg(test)]
mod tests {
    use super::super::rust_file;
    use super::*;

    fn found(files: &[(&str, &str)]) -> Vec<String> {
        let sources: Vec<Source> =
            files.iter().map(|(path, text)| Source { path: path.into(), text: (*text).into() }).collect();
        problems("x/src", &rust_file::read(&sources).unwrap())
            .unwrap()
            .into_iter()
            .map(|problem| problem.what)
            .collect()
    }

    #[test]
    fn files_that_import_each_other_are_a_circle() {
        let circle = [
            ("x/src/lib.rs", "mod a; mod b; mod c;"),
            ("x/src/a.rs", "use crate::b::B; pub struct A;"),
            ("x/src/b.rs", "pub struct B; fn f(_: super::a::A) {}"),
            ("x/src/c.rs", "use crate::a::A;"),
        ];
        assert_eq!(found(&circle), ["imports in a circle: x/src/a.rs, x/src/b.rs"]);
        assert_eq!(found(&circle[..2]), [""; 0]);
    }

    #[test]
    fn a_path_through_a_reexport_leads_to_the_definition() {
        let files = [
            ("x/src/lib.rs", "mod m;"),
            ("x/src/m/mod.rs", "mod a; mod b; pub use a::A; pub use b::*;"),
            ("x/src/m/a.rs", "pub struct A;"),
            ("x/src/m/b.rs", "use super::A; pub struct B;"),
        ];
        assert_eq!(found(&files), [""; 0]);
        let mut back = files;
        back[2].1 = "use crate::m::B; pub struct A;";
        assert_eq!(found(&back), ["imports in a circle: x/src/m/a.rs, x/src/m/b.rs"]);
    }

    #[test]
    fn a_parent_that_uses_its_child_which_uses_the_parent_is_a_circle() {
        let files = [
            ("x/src/lib.rs", "mod m;"),
            ("x/src/m/mod.rs", "mod a; pub struct M; fn f() { a::g() }"),
            ("x/src/m/a.rs", "use super::M; pub fn g() {}"),
        ];
        assert_eq!(found(&files), ["imports in a circle: x/src/m/mod.rs, x/src/m/a.rs"]);
    }

    #[test]
    fn test_code_does_not_count() {
        let files = [
            ("x/src/lib.rs", "mod a; mod b;"),
            ("x/src/a.rs", "use crate::b::B; pub struct A;"),
            ("x/src/b.rs", "pub struct B; #[cfg(test)] mod tests { use crate::a::A; }"),
        ];
        assert_eq!(found(&files), [""; 0]);
    }
}
