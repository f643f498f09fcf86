// SPDX-License-Identifier: GPL-2.0

//! What the documentation quotes is in the tree: functions in the files that they are said to be
//! in, members of the types and modules that they are said to be of, words of the code, points,
//! switches and cases, verbs of make, and code, line by line.

use crate::{none, source, tree::Tree};

/// Words of the kernel, of its tools and of other file systems begin so, where they are none of
/// this tree.
const OTHERS: &str = "\
    AS_ CONFIG_ FAULT_FLAG_ FGP_ FITRIM FOLL_ FS_IOC_ IOMAP_ WB_SYNC_ __get_user __xfs_ \
    bch2_ bdev_ bio_ break_layout btrfs_ dax_ exfat_ ext4_ fault_in_ file_thp filemap_ \
    folio_ fs_reclaim generic_ gfs2_ i_data_sem i_es_seq ifs_ inode_ iomap_ is_rust_ \
    jbd2_ kiocb_ lock_folio_ m_seq mapping_ mpage_ page_cache_ panic_const_ pin_user_ \
    process_vm_ read_mapping_ sb_ skip_copy truncate_inode_ unpin_user_ vma_can_ \
    wb_delay_ writable_file_ write_delay_ writeback_iter writepage_ xfs_";

/// Words that others have and that say nothing by their beginning: targets of device-mapper,
/// options of mount(8), features of the format, flags in the events of iomap, ioctls.
const FOREIGN: &str = "\
    A2BA3 AOP_TRUNCATED_PAGE NEW SETFLAGS STALE dir_prealloc dust enough_retries \
    imagic_inodes nofault nosuid";

/// Folders of events of the kernel, and of xfstests.
const EVENTS: &[&str] = &["block/", "filemap/", "iomap/", "jbd2/", "tools/"];

/// Made when it runs, or one that stands for all.
const MADE: &[&str] = &["a.rs", "index.html", "met.html", "met.tsv", "not-met.tsv"];

/// A part of a document: what stands in backquotes, the code of a fence, or other words.
#[derive(Debug, PartialEq)]
enum Part<'a> {
    Text(&'a str),
    Quote(&'a str),
    /// The language, and the text.
    Fence(&'a str, &'a str),
}

/// The parts of a document, with the lines that they begin in.
fn parts(text: &str) -> Vec<(usize, Part<'_>)> {
    let (mut found, mut line) = (Vec::new(), 1);
    for (n, block) in text.split("```").enumerate() {
        if n % 2 == 1 {
            let (language, code) = block.split_once('\n').unwrap_or(("", block));
            found.push((line, Part::Fence(language.trim(), code)));
            line += block.matches('\n').count();
            continue;
        }
        for (n, part) in block.split('`').enumerate() {
            let part_of = if n % 2 == 1 { Part::Quote } else { Part::Text };
            found.push((line, part_of(part)));
            line += part.matches('\n').count();
        }
    }
    found
}

fn is_word(text: &str) -> bool {
    let mut chars = text.chars();
    let first = |c: char| c.is_ascii_alphabetic() || c == '_';
    chars.next().is_some_and(first) && chars.all(|c| c.is_ascii_alphanumeric() || c == '_')
}

/// The names of a path as `a::b`, or of one name, without what a call or a macro has behind it.
fn names(quote: &str) -> Option<Vec<&str>> {
    let plain = quote.trim_end_matches('!');
    let plain = plain.strip_suffix("()").unwrap_or(plain);
    let names: Vec<&str> = plain.split("::").collect();
    names.iter().all(|name| is_word(name)).then_some(names)
}

/// Whether it is the name of a file, maybe with folders before it.
fn is_file(quote: &str) -> bool {
    let (stem, end) = quote.rsplit_once('.').unwrap_or((quote, ""));
    let ends = [
        "c", "h", "html", "list", "md", "patch", "py", "rs", "svg", "tsv",
    ];
    let fits = |c: char| c.is_alphanumeric() || "/_.-".contains(c);
    ends.contains(&end) && !stem.is_empty() && stem.chars().all(fits)
}

/// Lower case words with this between them.
fn are_joined(quote: &str, by: char) -> bool {
    let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    let word = |w: &str| !w.is_empty() && (w == "*" || w.chars().all(fits));
    quote.contains(by) && quote.split(by).all(word)
}

/// What is wrong with what stands in backquotes.
fn wrong_quote(tree: &Tree, quote: &str) -> Option<String> {
    if let Some(names) = names(quote) {
        return wrong_names(tree, &names);
    }
    let is_there = if is_file(quote) {
        let kernels = ["include/", "mm/", "block/", "lib/"];
        MADE.contains(&quote.rsplit('/').next()?)
            || quote.contains("OPTIONS")
            || kernels.iter().any(|k| quote.starts_with(k))
            || !tree.ending_in(quote).is_empty()
    } else if are_joined(quote, '-') {
        tree.says(quote)
    } else if are_joined(quote, '/') {
        let said = quote.trim_end_matches('*');
        let known = EVENTS.iter().any(|folder| said.starts_with(folder));
        known || tree.says(&format!("\"{said}")) || tree.says(said) || tree.has_folder(said)
    } else if let Some(option) = quote.strip_prefix("--") {
        let fits = |c: char| c.is_alphanumeric() || c == '-';
        tree.says(option.split(|c| !fits(c)).next()?)
    } else {
        true
    };
    (!is_there).then(|| quote.to_string())
}

fn wrong_names(tree: &Tree, names: &[&str]) -> Option<String> {
    if let [.., of, name] = names {
        return (!tree.has_member(of, name)).then(|| format!("{of} has no {name}"));
    }
    let name = names[0];
    let foreign = FOREIGN.split_whitespace().any(|word| word == name);
    let other = foreign || OTHERS.split_whitespace().any(|with| name.starts_with(with));
    (!other && !tree.has_word(name)).then(|| name.to_string())
}

/// What is wrong with the code of a fence.
fn wrong_fence(tree: &Tree, language: &str, code: &str) -> Vec<String> {
    if language == "rust" {
        let lines = code.lines().map(str::trim);
        let lines: Vec<&str> = lines.filter(|l| !l.is_empty() && *l != "...").collect();
        let missed = tree.lines_missed(&lines);
        return missed
            .into_iter()
            .map(|line| format!("no code: {line}"))
            .collect();
    }
    let fits = |c: char| c.is_alphanumeric() || c == '_' || c == ':';
    let words = code.split(|c| !fits(c)).map(|w| w.trim_matches(':'));
    let paths = words.filter(|w| w.contains("::")).filter_map(names);
    let mut wrong: Vec<String> = paths.filter_map(|path| wrong_names(tree, &path)).collect();
    wrong.extend(code.lines().filter_map(|line| wrong_verb(tree, line)));
    wrong
}

/// A verb of make that there is not.
fn wrong_verb(tree: &Tree, command: &str) -> Option<String> {
    let verb = command
        .trim()
        .strip_prefix("make ")?
        .split_whitespace()
        .next()?;
    // xfstests has the other one.
    let known = verb.contains('=') || verb == "install" || tree.verbs.iter().any(|v| v == verb);
    (!known).then(|| format!("make {verb}"))
}

/// "`name` in `file`", "`name`, `file`" and "`file` `name`": the file has to say the name.
fn wrong_places(tree: &Tree, parts: &[(usize, Part<'_>)]) -> Vec<(usize, String)> {
    let place = |window: &[(usize, Part<'_>)]| {
        let [(line, Part::Quote(a)), (_, Part::Text(between)), (_, Part::Quote(b))] = window else {
            return None;
        };
        let (name, file) = match between.trim() {
            "in" | "," | "of" => (a, b),
            "" => (b, a),
            _ => return None,
        };
        let name = *names(name)?.last()?;
        let files = tree.ending_in(file);
        let nowhere = is_file(file) && !files.is_empty() && !files.iter().any(|f| f.has_word(name));
        nowhere.then(|| (*line, format!("{file} does not say {name}")))
    };
    parts.windows(3).filter_map(place).collect()
}

fn wrong(tree: &Tree, text: &str) -> Vec<(usize, String)> {
    let parts = parts(text);
    let mut found = wrong_places(tree, &parts);
    for (line, part) in &parts {
        let wrong = match part {
            Part::Text(_) => Vec::new(),
            Part::Quote(quote) => {
                let quoted = wrong_quote(tree, quote);
                quoted.into_iter().chain(wrong_verb(tree, quote)).collect()
            }
            Part::Fence(language, code) => wrong_fence(tree, language, code),
        };
        found.extend(wrong.into_iter().map(|what| (*line, what)));
    }
    found
}

#[test]
fn quotes_in_the_documentation_exist() {
    let tree = Tree::checkout();
    let (mut found, mut all) = (Vec::new(), 0);
    for file in source::documents() {
        all += parts(&file.text).len();
        for (line, what) in wrong(&tree, &file.text) {
            found.push(format!("{}:{line}: {what}", file.path));
        }
    }
    assert!(all > 3000, "only {all} parts");
    none(&found);
}

/// The tables of files in `design.md`: which have a row, by their names or that of their folder.
fn placed(design: &str, layer: &str) -> Vec<String> {
    let section = design.split(&format!("### rust/{layer}\n")).nth(1);
    let section = section.map_or("", |s| s.split("\n##").next().unwrap_or(""));
    let mut found = Vec::new();
    for row in section.lines().filter(|l| l.starts_with("| `")) {
        let cell = row.split('|').nth(1).unwrap_or("");
        let mut folder = "";
        for name in cell.split('`').skip(1).step_by(2) {
            found.push(name.to_string());
            // "`alloc/group.rs`, `bitmap.rs`": of the same folder.
            match name.rsplit_once('/') {
                Some((before, _)) => folder = before,
                None if !folder.is_empty() => found.push(format!("{folder}/{name}")),
                None => (),
            }
        }
    }
    found
}

#[test]
fn each_source_has_a_place_in_the_design() {
    let path = source::root().join("Documentation/design.md");
    let design = std::fs::read_to_string(path).unwrap();
    let mut wrong = Vec::new();
    for layer in ["vfs", "disk", "fs"] {
        let placed = placed(&design, layer);
        let folder = format!("rust/{layer}/");
        for file in source::files(&[&folder], &[".rs"]) {
            let name = file.path.trim_start_matches(&folder);
            let has = |p: &String| p == name || p.ends_with('/') && name.starts_with(p.as_str());
            if name != "mod.rs" && !placed.iter().any(has) {
                wrong.push(format!("{}: in no table of design.md", file.path));
            }
        }
    }
    none(&wrong);
}

#[test]
fn the_search_for_quotes_finds() {
    let code = "/// A.\npub struct Hole { place: u32 }\nimpl Hole {\n    pub fn fill(self) {\n        \
        if a {\n            b();\n        }\n    }\n}\nenum Effort { Room }\nconst P: &str = \"a-b\";";
    let case = "const CASES: &[Case] = &[Case::new(\"dio/pages\", ALL, pages)];";
    let files = [
        ("rust/fs/extent/entry.rs", code),
        ("tests/guest/dio.rs", case),
    ];
    let tree = Tree::of(&files, "check");
    let found = |text: &str| -> Vec<(usize, String)> { wrong(&tree, text) };
    let right = "`Hole::fill` in `extent/entry.rs`, `Hole::place`, `Effort::Room`, `entry::Hole`, \
        `fill()`, `a-b`, `dio/pages`, `dio/*`, `make check`, `xfs_file_read`; `entry.rs` `Hole`\n\
        ```\nHole::fill: waits\nmake check\n```\n```rust\nif a {\n    ...\n}\n```\n";
    assert_eq!(found(right), []);
    for (text, what) in [
        ("`Hole::reserve`", "Hole has no reserve"),
        ("`Effort::Soon`", "Effort has no Soon"),
        ("`reserve`", "reserve"),
        ("`entries.rs`", "entries.rs"),
        ("`P` in `dio.rs`", "dio.rs does not say P"),
        ("`dio.rs` `P`", "dio.rs does not say P"),
        ("`a-c`", "a-c"),
        ("`dio/page`s and `eio/*`", "eio/*"),
        ("`make checks`", "make checks"),
        ("`--gone yes`", "--gone yes"),
        ("```\n  make it\n```", "make it"),
        ("```\nHole::gone: x\n```", "Hole has no gone"),
        ("```rust\nif a {\n    c();\n```", "no code: c();"),
        ("```rust\n}\nif a {\nif a {\n```", "no code: if a {"),
    ] {
        assert_eq!(found(text), [(1, what.to_string())], "{text}");
    }
    let rows = "### rust/fs\n| `a/b.rs`, `c.rs` | x `d.rs` |\n| `e/` | y |\n## z\n| `f.rs` | v |";
    assert_eq!(placed(rows, "fs"), ["a/b.rs", "c.rs", "a/c.rs", "e/"]);
}
