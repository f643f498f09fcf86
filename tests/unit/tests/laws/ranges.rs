// SPDX-License-Identifier: GPL-2.0

//! A range is one value: `Range<u64>` of bytes, `LblkRange` of the blocks of a file. Who is handed
//! a number and another one has to look up whether the second is a length or an end, and whether
//! an end is the last one or lies behind it.

use crate::{none, source};
use syn::visit::{self, Visit};

/// How parameters are called that begin a range,
const BEGINS: &[&str] = &[
    "pos", "offset", "off", "start", "first", "at", "from", "lblk", "pblk", "bit",
];
/// and those that end it.
const ENDS: &[&str] = &["len", "length", "count", "end", "last", "to"];
/// What such numbers are.
const NUMBERS: &[&str] = &["u16", "u32", "u64", "usize", "Lblk", "Pblk"];

/// What may stay a pair: the allocator's bits of a bitmap and blocks of the disk, as the kernel's
/// own functions for bitmaps have them (`find_next_bit(map, size, start)`).
const PAIRS: &[(&str, &str)] = &[
    ("rust/fs/alloc.rs", "is_system_block"),
    ("rust/fs/alloc/balloc.rs", "next_run"),
    ("rust/fs/alloc/balloc.rs", "free_run"),
    ("rust/fs/alloc/balloc.rs", "free_run_locked"),
    ("rust/fs/alloc/bitmap.rs", "next_zero"),
    ("rust/fs/alloc/bitmap.rs", "next_set"),
    ("rust/fs/alloc/held.rs", "bits"),
    ("rust/fs/alloc/pending.rs", "add"),
    ("rust/fs/alloc/pending.rs", "try_add"),
    ("rust/fs/alloc/pending.rs", "next_usable"),
    ("rust/fs/alloc/pending.rs", "next_pending"),
    ("rust/fs/alloc/zones.rs", "add"),
    ("rust/fs/alloc/zones.rs", "overlaps"),
    ("rust/fs/alloc/zones.rs", "within"),
];

fn is_number(ty: &syn::Type) -> bool {
    match ty {
        syn::Type::Path(ty) => NUMBERS.iter().any(|number| ty.path.is_ident(number)),
        _ => false,
    }
}

/// The numbers among the parameters, each with its name and its place; a tuple gives its parts.
fn numbers(sig: &syn::Signature) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    let mut place = 0;
    let mut add = |pat: &syn::Pat, ty: &syn::Type| {
        place += 1;
        if let (syn::Pat::Ident(pat), true) = (pat, is_number(ty)) {
            let name = pat.ident.to_string();
            found.push((place, name.trim_start_matches('_').to_string()));
        }
    };
    for input in &sig.inputs {
        let syn::FnArg::Typed(arg) = input else {
            continue;
        };
        match (&*arg.pat, &*arg.ty) {
            (syn::Pat::Tuple(pats), syn::Type::Tuple(types)) => {
                for (pat, ty) in pats.elems.iter().zip(&types.elems) {
                    add(pat, ty);
                }
            }
            (pat, ty) => add(pat, ty),
        }
    }
    found
}

/// Functions with two neighbouring parameters that are a range.
#[derive(Default)]
struct Pairs(Vec<(String, usize)>);

impl<'a> Visit<'a> for Pairs {
    fn visit_signature(&mut self, sig: &'a syn::Signature) {
        let is_pair = |two: &[(usize, String)]| match two {
            [(a, begin), (b, end)] => {
                a + 1 == *b && BEGINS.contains(&&**begin) && ENDS.contains(&&**end)
            }
            _ => false,
        };
        if numbers(sig).windows(2).any(is_pair) {
            let line = sig.ident.span().start().line;
            self.0.push((sig.ident.to_string(), line));
        }
        visit::visit_signature(self, sig);
    }
}

fn pairs(file: &source::File) -> Vec<(String, usize)> {
    let mut pairs = Pairs::default();
    pairs.visit_file(&file.parsed());
    pairs.0
}

#[test]
fn a_range_is_one_value() {
    let mut wrong = Vec::new();
    let mut known: Vec<_> = PAIRS.to_vec();
    for file in source::files(&["rust/fs"], &[".rs"]) {
        for (name, line) in pairs(&file) {
            let own = (file.path.as_str(), name.as_str());
            known.retain(|one| *one != own);
            if !PAIRS.contains(&own) {
                wrong.push(format!("{}:{line}: {name}", file.path));
            }
        }
    }
    wrong.extend(known.iter().map(|one| format!("{one:?} is there no more")));
    none(&wrong);
}

#[test]
fn the_search_for_ranges_finds() {
    let text = "fn a(pos: u64, len: u64) {} fn b(start: Lblk, x: u8, end: Lblk) {}
        impl T { fn c(&self, _start: u64, _end: u64) {} fn d(&self, from: Access, to: Access) {} }
        trait U { fn e(i: &I, (lblk, count): (Lblk, u32)); fn f(bytes: Range<u64>); }";
    let path = "x".to_string();
    let text = text.to_string();
    let found = pairs(&source::File { path, text });
    let names: Vec<_> = found.iter().map(|f| f.0.as_str()).collect();
    assert_eq!(names, ["a", "c", "e"]);
}
