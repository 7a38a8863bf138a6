//! The paths that a Rust file names: in `use`, in expressions and types, and in macro calls.

use proc_macro2::{TokenStream, TokenTree};
use syn::visit::{self, Visit};
use syn::{Attribute, ItemMod, Macro, UseTree};

/// A path as written in the source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamedPath {
    /// `["crate", "core", "event"]`
    pub segments: Vec<String>,
    /// Number of enclosing inline modules. Each takes one `super`.
    pub depth: usize,
    /// The line, from 1.
    pub line: usize,
    /// It stands in a `pub use`.
    pub reexport: bool,
}

/// What the rules need to know about a file.
#[derive(Default)]
pub struct FileFacts {
    /// Paths outside of test code.
    pub paths: Vec<NamedPath>,
    /// Macros called outside of test code, with their lines.
    pub macros: Vec<(String, usize)>,
    /// Lines with `unsafe`, including test code, without attributes.
    pub unsafe_lines: Vec<usize>,
    /// Test modules that are separate files.
    pub test_modules: Vec<String>,
    /// String literals outside of test code and attributes, with their lines.
    pub strings: Vec<(String, usize)>,
    in_reexport: bool,
    depth: usize,
    test_depth: usize,
}

/// Parses the text of a file.
pub fn find(text: &str) -> syn::Result<FileFacts> {
    let file = syn::parse_file(text)?;
    let mut found = FileFacts::default();
    found.visit_file(&file);
    Ok(found)
}

fn is_test(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        let meta = &attribute.meta;
        if let syn::Meta::List(list) = meta {
            list.path.is_ident("cfg") && list.tokens.to_string() == "test"
        } else {
            meta.path().is_ident("test")
        }
    })
}

impl FileFacts {
    fn name(&mut self, segments: Vec<String>, line: usize) {
        if self.test_depth == 0 {
            self.paths.push(NamedPath { segments, depth: self.depth, line, reexport: self.in_reexport });
        }
    }

    fn use_tree(&mut self, tree: &UseTree, before: &[String]) {
        match tree {
            UseTree::Path(path) => {
                let mut before = before.to_vec();
                before.push(path.ident.to_string());
                self.use_tree(&path.tree, &before);
            }
            UseTree::Group(group) => group.items.iter().for_each(|item| self.use_tree(item, before)),
            UseTree::Glob(star) => self.name(before.to_vec(), star.star_token.spans[0].start().line),
            UseTree::Name(syn::UseName { ident }) | UseTree::Rename(syn::UseRename { ident, .. }) => {
                let line = ident.span().start().line;
                self.name(before.iter().cloned().chain([ident.to_string()]).collect(), line);
            }
        }
    }

    /// Collects paths and `unsafe` from the tokens of a macro call, which syn does not parse.
    fn tokens(&mut self, tokens: &TokenStream) {
        let mut path: Vec<String> = Vec::new();
        let (mut colons, mut line) = (0, 0);
        for token in tokens.clone() {
            match &token {
                TokenTree::Ident(ident) => {
                    if colons != 2 {
                        self.end_of_path(&mut path, line);
                    }
                    line = ident.span().start().line;
                    if ident == "unsafe" {
                        self.unsafe_lines.push(line);
                    }
                    path.push(ident.to_string());
                    colons = 0;
                }
                TokenTree::Punct(punct) if punct.as_char() == ':' => colons += 1,
                TokenTree::Literal(literal) => {
                    self.end_of_path(&mut path, line);
                    colons = 0;
                    if let syn::Lit::Str(text) = syn::Lit::new(literal.clone()) {
                        self.string(&text);
                    }
                }
                other => {
                    self.end_of_path(&mut path, line);
                    colons = 0;
                    if let TokenTree::Group(group) = other {
                        self.tokens(&group.stream());
                    }
                }
            }
        }
        self.end_of_path(&mut path, line);
    }

    fn string(&mut self, text: &syn::LitStr) {
        if self.test_depth == 0 {
            self.strings.push((text.value(), text.span().start().line));
        }
    }

    fn end_of_path(&mut self, path: &mut Vec<String>, line: usize) {
        let path = std::mem::take(path);
        if path.len() > 1 {
            self.name(path, line);
        }
    }
}

impl<'ast> Visit<'ast> for FileFacts {
    fn visit_item(&mut self, item: &'ast syn::Item) {
        let attributes: &[Attribute] = match item {
            syn::Item::Fn(item) => &item.attrs,
            syn::Item::Use(item) => &item.attrs,
            syn::Item::Impl(item) => &item.attrs,
            syn::Item::Struct(item) => &item.attrs,
            syn::Item::Enum(item) => &item.attrs,
            syn::Item::Mod(item) => &item.attrs,
            _ => &[],
        };
        let test = usize::from(is_test(attributes));
        self.test_depth += test;
        visit::visit_item(self, item);
        self.test_depth -= test;
    }

    fn visit_item_mod(&mut self, module: &'ast ItemMod) {
        if module.content.is_none() && self.test_depth > 0 {
            self.test_modules.push(module.ident.to_string());
        }
        self.depth += 1;
        visit::visit_item_mod(self, module);
        self.depth -= 1;
    }

    fn visit_item_use(&mut self, item: &'ast syn::ItemUse) {
        self.in_reexport = !matches!(item.vis, syn::Visibility::Inherited);
        self.use_tree(&item.tree, &[]);
        self.in_reexport = false;
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        if let (true, Some(first)) = (path.segments.len() > 1, path.segments.first()) {
            let line = first.ident.span().start().line;
            self.name(path.segments.iter().map(|segment| segment.ident.to_string()).collect(), line);
        }
        visit::visit_path(self, path);
    }

    fn visit_macro(&mut self, call: &'ast Macro) {
        if let (0, Some(last)) = (self.test_depth, call.path.segments.last()) {
            self.macros.push((last.ident.to_string(), last.ident.span().start().line));
        }
        self.tokens(&call.tokens);
        visit::visit_macro(self, call);
    }

    fn visit_lit_str(&mut self, text: &'ast syn::LitStr) {
        self.string(text);
    }

    fn visit_attribute(&mut self, _: &'ast Attribute) {}

    fn visit_expr_unsafe(&mut self, block: &'ast syn::ExprUnsafe) {
        self.unsafe_lines.push(block.unsafe_token.span.start().line);
        visit::visit_expr_unsafe(self, block);
    }

    fn visit_signature(&mut self, signature: &'ast syn::Signature) {
        self.unsafe_lines.extend(signature.unsafety.iter().map(|word| word.span.start().line));
        visit::visit_signature(self, signature);
    }

    fn visit_item_impl(&mut self, item: &'ast syn::ItemImpl) {
        self.unsafe_lines.extend(item.unsafety.iter().map(|word| word.span.start().line));
        visit::visit_item_impl(self, item);
    }

    fn visit_item_foreign_mod(&mut self, item: &'ast syn::ItemForeignMod) {
        self.unsafe_lines.push(item.abi.extern_token.span.start().line);
        visit::visit_item_foreign_mod(self, item);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paths(text: &str) -> Vec<String> {
        find(text).unwrap().paths.into_iter().map(|path| path.segments.join("::")).collect()
    }

    #[test]
    fn groups_and_renames_are_taken_apart() {
        assert_eq!(
            paths("use std::{fs as f, io::{self, Read}};"),
            ["std::fs", "std::io::self", "std::io::Read"]
        );
    }

    #[test]
    fn expressions_types_and_macro_calls_are_seen() {
        let text =
            "fn f(x: std::fs::File) { crate::store::open(); format!(\"{}\", std::env::args().count()); }";
        assert_eq!(paths(text), ["std::fs::File", "crate::store::open", "std::env::args"]);
    }

    #[test]
    fn words_in_comments_and_strings_are_not() {
        assert_eq!(paths("// std::fs::read\nfn f() -> &'static str { \"std::env::var unsafe\" }"), [""; 0]);
        assert!(find("/// unsafe\nfn f() {}").unwrap().unsafe_lines.is_empty());
    }

    #[test]
    fn test_code_is_left_out_and_its_files_are_named() {
        let found =
            find("#[cfg(test)] mod tests;\n#[cfg(test)] mod more { use std::fs; }\nmod own;").unwrap();
        assert!(found.paths.is_empty());
        assert_eq!(found.test_modules, ["tests"]);
    }

    #[test]
    fn unsafe_is_seen_in_blocks_functions_impls_and_macro_calls() {
        let text = "fn a() { unsafe { b() } }\nunsafe fn b() {}\nunsafe impl Send for X {}\nfn c() { vec![unsafe { b() }]; }";
        assert_eq!(find(text).unwrap().unsafe_lines, [1, 2, 3, 4]);
    }
}
