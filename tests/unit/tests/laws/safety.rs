// SPDX-License-Identifier: GPL-2.0

//! Unsafe code says why it may, and an unsafe function what it asks for. Who says "by the type
//! invariant" has a type with one.

use crate::{none, source};
use syn::spanned::Spanned;
use syn::visit::{self, Visit};

/// What a file has of unsafe code.
#[derive(Default)]
struct Unsafe {
    /// Where the innermost statement (arm, field, item) around begins.
    begins: Vec<usize>,
    /// Lines of blocks and implementations, each with where its statement begins.
    blocks: Vec<(usize, usize)>,
    /// Functions and traits that do not say `# Safety`, and their lines.
    silent: Vec<(String, usize)>,
}

/// Whether a line of the documentation is `what`.
fn says(attrs: &[syn::Attribute], what: &str) -> bool {
    let is_it = |attr: &syn::Attribute| match &attr.meta {
        syn::Meta::NameValue(doc) if doc.path.is_ident("doc") => match &doc.value {
            syn::Expr::Lit(syn::ExprLit {
                lit: syn::Lit::Str(text),
                ..
            }) => text.value().trim() == what,
            _ => false,
        },
        _ => false,
    };
    attrs.iter().any(is_it)
}

impl Unsafe {
    fn within(&mut self, at: proc_macro2::Span, inside: impl FnOnce(&mut Self)) {
        self.begins.push(at.start().line);
        inside(self);
        self.begins.pop();
    }

    fn declared(&mut self, attrs: &[syn::Attribute], name: &syn::Ident) {
        if !says(attrs, "# Safety") {
            self.silent
                .push((name.to_string(), name.span().start().line));
        }
    }

    fn of(text: &str) -> Self {
        let mut found = Self::default();
        found.visit_file(&syn::parse_file(text).unwrap());
        found
    }
}

impl<'a> Visit<'a> for Unsafe {
    fn visit_stmt(&mut self, s: &'a syn::Stmt) {
        self.within(s.span(), |this| visit::visit_stmt(this, s));
    }

    fn visit_arm(&mut self, a: &'a syn::Arm) {
        self.within(a.span(), |this| visit::visit_arm(this, a));
    }

    fn visit_field_value(&mut self, f: &'a syn::FieldValue) {
        self.within(f.span(), |this| visit::visit_field_value(this, f));
    }

    fn visit_item(&mut self, i: &'a syn::Item) {
        self.within(i.span(), |this| visit::visit_item(this, i));
    }

    fn visit_expr_unsafe(&mut self, e: &'a syn::ExprUnsafe) {
        let line = e.span().start().line;
        self.blocks.push((line, *self.begins.last().unwrap()));
        visit::visit_expr_unsafe(self, e);
    }

    fn visit_item_impl(&mut self, i: &'a syn::ItemImpl) {
        if let Some(word) = i.unsafety {
            let line = word.span().start().line;
            self.blocks.push((line, line));
        }
        visit::visit_item_impl(self, i);
    }

    fn visit_item_fn(&mut self, f: &'a syn::ItemFn) {
        if f.sig.unsafety.is_some() {
            self.declared(&f.attrs, &f.sig.ident);
        }
        visit::visit_item_fn(self, f);
    }

    fn visit_impl_item_fn(&mut self, f: &'a syn::ImplItemFn) {
        if f.sig.unsafety.is_some() {
            self.declared(&f.attrs, &f.sig.ident);
        }
        visit::visit_impl_item_fn(self, f);
    }

    fn visit_item_trait(&mut self, t: &'a syn::ItemTrait) {
        if t.unsafety.is_some() {
            self.declared(&t.attrs, &t.ident);
        }
        visit::visit_item_trait(self, t);
    }

    fn visit_trait_item_fn(&mut self, f: &'a syn::TraitItemFn) {
        if f.sig.unsafety.is_some() {
            self.declared(&f.attrs, &f.sig.ident);
        }
        visit::visit_trait_item_fn(self, f);
    }
}

/// The lines of blocks without a `SAFETY:` comment, which stands above the block or above the
/// statement that it is in.
fn unexplained(text: &str) -> Vec<usize> {
    let lines: Vec<&str> = text.lines().collect();
    let comment = |n: usize| n > 0 && lines[n - 1].trim_start().starts_with("//");
    let explained = |&(line, statement): &(usize, usize)| {
        let mut from = statement;
        while comment(from - 1) {
            from -= 1;
        }
        (from..line).any(|n| comment(n) && lines[n - 1].contains("SAFETY:"))
    };
    let blocks = Unsafe::of(text).blocks;
    let wrong = blocks.iter().filter(|block| !explained(block));
    wrong.map(|block| block.0).collect()
}

/// Unsafe functions of an implementation of a trait: what they ask for stands there.
fn by_trait(text: &str) -> Vec<usize> {
    #[derive(Default)]
    struct Methods(Vec<usize>);
    impl<'a> Visit<'a> for Methods {
        fn visit_item_impl(&mut self, i: &'a syn::ItemImpl) {
            if i.trait_.is_some() {
                let names = i.items.iter().filter_map(|item| match item {
                    syn::ImplItem::Fn(f) => Some(f.sig.ident.span().start().line),
                    _ => None,
                });
                self.0.extend(names);
            }
            visit::visit_item_impl(self, i);
        }
    }
    let mut methods = Methods::default();
    methods.visit_file(&syn::parse_file(text).unwrap());
    methods.0
}

fn silent(text: &str) -> Vec<(String, usize)> {
    let mut silent = Unsafe::of(text).silent;
    let by_trait = by_trait(text);
    silent.retain(|(_, line)| !by_trait.contains(line));
    silent
}

#[test]
fn unsafe_says_why() {
    let (mut wrong, mut all) = (Vec::new(), 0);
    for file in source::files(&["rust/vfs"], &[".rs"]) {
        all += Unsafe::of(&file.text).blocks.len();
        let lines = unexplained(&file.text);
        wrong.extend(
            lines
                .iter()
                .map(|n| format!("{}:{n}: no SAFETY comment", file.path)),
        );
    }
    assert!(all > 300, "only {all} blocks");
    none(&wrong);
}

#[test]
fn unsafe_functions_say_what_they_ask_for() {
    let mut wrong = Vec::new();
    for file in source::files(&["rust/vfs"], &[".rs"]) {
        let found = silent(&file.text);
        wrong.extend(
            found
                .iter()
                .map(|(name, n)| format!("{}:{n}: {name}: no # Safety", file.path)),
        );
    }
    none(&wrong);
}

/// The types of a file whose documentation has invariants.
fn with_invariants(file: &syn::File) -> Vec<String> {
    let said = |attrs: &[syn::Attribute]| says(attrs, "# Invariants");
    let name = |item: &syn::Item| match item {
        syn::Item::Struct(s) if said(&s.attrs) => Some(s.ident.to_string()),
        syn::Item::Enum(e) if said(&e.attrs) => Some(e.ident.to_string()),
        _ => None,
    };
    file.items.iter().filter_map(name).collect()
}

/// The lines that lean on "the type invariant" and do not say of which type, each with the type
/// whose implementation it is in; an empty name if it is in none.
fn by_invariant(text: &str) -> Vec<(usize, String)> {
    let file = syn::parse_file(text).unwrap();
    let block = |item: &syn::Item| match item {
        syn::Item::Impl(i) => match &*i.self_ty {
            syn::Type::Path(ty) => Some((i.span(), ty.path.segments.last()?.ident.to_string())),
            _ => None,
        },
        _ => None,
    };
    let blocks: Vec<_> = file.items.iter().filter_map(block).collect();
    let leans = |line: &str| {
        let said = line.contains("SAFETY: By the type invariant");
        said && !line.contains("invariant of `") && !line.contains("invariants of")
    };
    let lines = text.lines().enumerate().filter(|(_, line)| leans(line));
    let within = |n: usize| {
        let around =
            |b: &&(proc_macro2::Span, String)| (b.0.start().line..b.0.end().line).contains(&n);
        blocks
            .iter()
            .find(around)
            .map_or(String::new(), |b| b.1.clone())
    };
    lines.map(|(n, _)| (n + 1, within(n + 1))).collect()
}

#[test]
fn who_leans_on_an_invariant_has_one() {
    let files = source::files(&["rust/vfs"], &[".rs"]);
    let types: Vec<_> = files
        .iter()
        .flat_map(|f| with_invariants(&f.parsed()))
        .collect();
    let mut wrong = Vec::new();
    for file in &files {
        let bare = by_invariant(&file.text).into_iter();
        let bare = bare.filter(|(_, name)| !types.contains(name));
        wrong.extend(bare.map(|(n, name)| format!("{}:{n}: {name} has none", file.path)));
    }
    assert!(types.len() > 30, "only {} types", types.len());
    none(&wrong);
}

#[test]
fn the_search_for_invariants_finds() {
    let text = "/// A.\n///\n/// # Invariants\n///\n/// Valid.\nstruct A<T>(T);\nstruct B;
        impl<T> A<T> {\nfn f() {\n// SAFETY: By the type invariant.\n} }
        impl Drop for B {\nfn drop(&mut self) {\n// SAFETY: By the type invariant; x.\n
        // SAFETY: By the type invariant of `A`.\n} }
        fn g() {\n// SAFETY: By the type invariant.\n}";
    assert_eq!(with_invariants(&syn::parse_file(text).unwrap()), ["A"]);
    let found: Vec<_> = by_invariant(text)
        .into_iter()
        .map(|(_, name)| name)
        .collect();
    assert_eq!(found, ["A", "B", ""]);
}

#[test]
fn the_search_for_safety_finds() {
    let text = r#"
/// # Safety
///
/// None.
unsafe fn told() {
    // SAFETY: Here.
    let a = unsafe { f() };
    let b = unsafe { f() };
    // SAFETY: Above the statement.
    g(
        1,
        unsafe { f() },
    );
    match x {
        // SAFETY: Of the first arm.
        1 => unsafe { f() },
        _ => unsafe { f() },
    }
}
// SAFETY: Of the first.
unsafe impl A for T {}
unsafe impl B for T {
    unsafe fn by_the_trait() {}
}
/// Nothing.
unsafe extern "C" fn untold() {}
unsafe trait Untold {}
"#;
    assert_eq!(unexplained(text), [8, 17, 22]);
    let names: Vec<String> = silent(text).into_iter().map(|(name, _)| name).collect();
    assert_eq!(names, ["untold", "Untold"]);
}
