//! What a module defines and re-exports.

use std::collections::{BTreeMap, BTreeSet};

use syn::{Item, UseTree, Visibility};

/// The names at the top of a file.
#[derive(Default)]
pub struct Items {
    /// Names of the items that the file defines.
    pub defined: BTreeSet<String>,
    /// Names that it re-exports, with their paths.
    pub reexported: BTreeMap<String, Vec<String>>,
    /// Modules that it re-exports everything of.
    pub globs: Vec<Vec<String>>,
}

/// Reads the top level of a file.
pub fn find(text: &str) -> syn::Result<Items> {
    let mut items = Items::default();
    for item in syn::parse_file(text)?.items {
        let ident = match item {
            Item::Const(item) => item.ident,
            Item::Enum(item) => item.ident,
            Item::Fn(item) => item.sig.ident,
            Item::Static(item) => item.ident,
            Item::Struct(item) => item.ident,
            Item::Trait(item) => item.ident,
            Item::Type(item) => item.ident,
            Item::Union(item) => item.ident,
            Item::Use(item) => {
                if !matches!(item.vis, Visibility::Inherited) {
                    items.reexport(&item.tree, &[]);
                }
                continue;
            }
            _ => continue,
        };
        items.defined.insert(ident.to_string());
    }
    Ok(items)
}

impl Items {
    fn reexport(&mut self, tree: &UseTree, before: &[String]) {
        let path = |last: &syn::Ident| before.iter().cloned().chain([last.to_string()]).collect::<Vec<_>>();
        match tree {
            UseTree::Path(inner) => self.reexport(&inner.tree, &path(&inner.ident)),
            UseTree::Group(group) => group.items.iter().for_each(|item| self.reexport(item, before)),
            UseTree::Glob(_) => self.globs.push(before.to_vec()),
            UseTree::Name(name) => drop(self.reexported.insert(name.ident.to_string(), path(&name.ident))),
            UseTree::Rename(rename) => {
                self.reexported.insert(rename.rename.to_string(), path(&rename.ident));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn definitions_and_reexports_are_distinguished() {
        let items =
            find("use a::B;\npub use c::{D, E as F};\npub(crate) use g::*;\nstruct H;\nfn i() {}").unwrap();
        assert_eq!(items.defined, ["H", "i"].map(String::from).into());
        assert_eq!(items.reexported.keys().collect::<Vec<_>>(), ["D", "F"]);
        assert_eq!(items.reexported["F"], ["c", "E"]);
        assert_eq!(items.globs, [["g"]]);
    }
}
