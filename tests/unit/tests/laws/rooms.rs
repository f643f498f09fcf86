// SPDX-License-Identifier: GPL-2.0

//! Each rule of the data path has a room in `io/`, whose first line names it, and in it the line
//! that keeps it; each callback is in a table of contexts; each switch of the lab belongs to a
//! rule, stands in files that begin with it, and has a race; each race has a page with a picture.

use crate::{none, source};
use std::collections::{BTreeMap, BTreeSet};

/// The rooms, and who lists them.
const ROOMS: &str = "rust/fs/io/";
const LIST: &str = "rust/fs/io.rs";

/// A switch that protects nothing: it makes a situation.
const NO_RULE: &[&str] = &["release"];

fn text(path: &str) -> String {
    let whole = source::root().join(path);
    std::fs::read_to_string(whole).unwrap_or_else(|e| panic!("{path}: {e}"))
}

/// The rules that a sentence names: "rule 3", "Rules 7 and 8", "rules 2, 4, 10".
fn rules(text: &str) -> BTreeSet<u32> {
    let mut found = BTreeSet::new();
    let lower = text.to_lowercase();
    for part in lower.split("rule").skip(1) {
        let part = part.trim_start_matches('s');
        let list = part.split(|c: char| !(c.is_ascii_digit() || ", and".contains(c)));
        let numbers = list
            .take(1)
            .flat_map(|list| list.split(|c: char| !c.is_ascii_digit()));
        found.extend(numbers.filter_map(|n| n.parse::<u32>().ok()));
    }
    found
}

/// What a file says of itself before its code.
fn head(text: &str) -> String {
    let lines = text.lines().skip_while(|l| !l.starts_with("//!"));
    let head = lines.take_while(|l| l.starts_with("//!"));
    head.map(|l| l.trim_start_matches("//!"))
        .collect::<Vec<_>>()
        .join(" ")
}

/// The rules that a room keeps: those that its first words name, "Rules 2 and 3: ".
fn kept(text: &str) -> BTreeSet<u32> {
    let head = head(text);
    let first = head
        .trim_start()
        .split_once(':')
        .map_or("", |(rules, _)| rules);
    if first.starts_with("Rule") {
        rules(first)
    } else {
        BTreeSet::new()
    }
}

/// The rules that comments name which stand with the code.
fn at_lines(text: &str) -> BTreeSet<u32> {
    let comment = |l: &&str| l.starts_with("//") && !l.starts_with("//!");
    let comments = text.lines().map(str::trim).filter(comment);
    comments.flat_map(rules).collect()
}

/// The list of rooms: "map.rs   an iomap: rule 3".
fn listed(text: &str) -> BTreeMap<String, BTreeSet<u32>> {
    let row = |line: &str| {
        let (name, what) = line.trim_start_matches("//!").trim().split_once(".rs ")?;
        let is_name = name
            .chars()
            .all(|c| c.is_ascii_lowercase() || "_/".contains(c));
        is_name.then(|| (format!("{name}.rs"), rules(what)))
    };
    text.lines().filter_map(row).collect()
}

/// Whether a file begins with a rule that a switch belongs to: a room of `io/` in its first words,
/// another one somewhere before its code.
fn begins_with(file: &source::File, switch: &BTreeSet<u32>) -> bool {
    let named = if file.path.starts_with(ROOMS) {
        kept(&file.text)
    } else {
        rules(&head(&file.text))
    };
    !switch.is_disjoint(&named)
}

/// The rules of data-path.md: the text of each.
fn sections(data_path: &str) -> BTreeMap<u32, &str> {
    let parts = data_path.split("\n## ").skip(1);
    let number = |part: &str| part.split_once(". ")?.0.parse().ok();
    parts
        .filter_map(|part| Some((number(part)?, part)))
        .collect()
}

/// The switches: how the code calls each, how the lab does, and what is said of it.
fn switches(lab: &str) -> Vec<(String, String, String)> {
    let (mut found, mut said) = (Vec::new(), String::new());
    let list = lab.split("    Rule {").nth(1).unwrap_or("");
    for line in list.lines().map(str::trim) {
        if let Some(doc) = line.strip_prefix("///") {
            said += doc;
        } else if let Some((name, word)) = line.split_once(" = c\"") {
            let word = word.trim_end_matches("\",").to_string();
            found.push((name.to_string(), word, std::mem::take(&mut said)));
        }
    }
    found
}

#[test]
fn each_rule_has_a_room() {
    let path = text("Documentation/data-path.md");
    let told = sections(&path);
    assert_eq!(
        told.keys().copied().collect::<Vec<u32>>(),
        Vec::from_iter(1..=14)
    );
    let mut wrong = Vec::new();
    let mut homeless: BTreeSet<u32> = told.keys().copied().collect();
    let mut listed = listed(&text(LIST));
    for room in source::files(&[ROOMS], &[".rs"]) {
        let name = room.path.trim_start_matches(ROOMS);
        let (kept, lines) = (kept(&room.text), at_lines(&room.text));
        if kept.is_empty() {
            wrong.push(format!("{}: does not begin with a rule", room.path));
        }
        if listed.remove(name).as_ref() != Some(&kept) {
            wrong.push(format!("{LIST}: says not what {name} does: {kept:?}"));
        }
        for rule in &kept {
            homeless.remove(rule);
            if !lines.contains(rule) {
                wrong.push(format!("{}: no line keeps rule {rule}", room.path));
            }
            if !told.get(rule).is_some_and(|told| told.contains(name)) {
                wrong.push(format!("data-path.md: rule {rule} does not name {name}"));
            }
        }
    }
    wrong.extend(homeless.iter().map(|n| format!("rule {n}: no room")));
    wrong.extend(
        listed
            .keys()
            .map(|name| format!("{LIST}: {name} is no room")),
    );
    none(&wrong);
}

/// What the first column of the tables of contexts names.
fn callbacks(text: &str) -> BTreeSet<String> {
    let cell = |line: &'_ str| {
        line.strip_prefix("//! |")?
            .split('|')
            .next()
            .map(str::to_string)
    };
    let cells: Vec<String> = text.lines().filter_map(cell).collect();
    let quoted = cells
        .iter()
        .flat_map(|cell| cell.split('`').skip(1).step_by(2));
    let is_name = |c: char| c.is_alphanumeric() || c == '_';
    let words = quoted.flat_map(|name| name.split(move |c| !is_name(c)));
    words
        .filter(|w| !w.is_empty())
        .map(str::to_string)
        .collect()
}

/// The functions of implementations of traits, but for those of the language and of the lab.
fn implemented(file: &syn::File) -> Vec<String> {
    let mut found = Vec::new();
    for item in &file.items {
        let syn::Item::Impl(block) = item else {
            continue;
        };
        let Some((_, path, _)) = &block.trait_ else {
            continue;
        };
        let name = path.segments.last().map(|s| s.ident.to_string());
        if ["From", "Drop", "Deref"]
            .map(Some)
            .contains(&name.as_deref())
        {
            continue;
        }
        found.extend(block.items.iter().filter_map(|item| match item {
            syn::ImplItem::Fn(f) if !f.attrs.iter().any(|a| a.path().is_ident("cfg")) => {
                Some(f.sig.ident.to_string())
            }
            _ => None,
        }));
    }
    found
}

#[test]
fn each_callback_has_a_context() {
    let forwards = "rust/fs/ops.rs";
    let told = callbacks(&(text(LIST) + &text(forwards)));
    let (mut wrong, mut all) = (Vec::new(), 0);
    let files = source::files(&["rust/fs"], &[".rs"]);
    for file in files
        .iter()
        .filter(|f| f.path.starts_with(ROOMS) || f.path == forwards)
    {
        for name in implemented(&file.parsed()) {
            all += 1;
            if !told.contains(&name) {
                wrong.push(format!("{}: {name} is in no table of contexts", file.path));
            }
        }
    }
    assert!(all > 60, "only {all} callbacks");
    none(&wrong);
}

#[test]
fn each_switch_has_a_rule_and_a_race() {
    let races = text("Documentation/races/README.md");
    let files = source::module();
    let mut wrong = Vec::new();
    let all = switches(&text("rust/fs/lab.rs"));
    for (name, word, said) in &all {
        if rules(said).is_empty() && !NO_RULE.contains(&word.as_str()) {
            wrong.push(format!("{word}: not said which rule"));
        }
        let rule = format!("Rule::{name}");
        let asks = |f: &&source::File| {
            let words = |line: &str| {
                let mut words = line.split(|c: char| !(c.is_alphanumeric() || ":_".contains(c)));
                words.any(|word| word == rule)
            };
            f.text.lines().any(words)
        };
        let kept = |f: &&source::File| !f.path.starts_with("rust/fs/lab") && asks(f);
        let inside = |f: &&source::File| f.path.starts_with("rust/fs/lab/") && asks(f);
        if files
            .iter()
            .find(kept)
            .or(files.iter().find(inside))
            .is_none()
        {
            wrong.push(format!("{word}: no line asks for {rule}"));
        }
        for file in files.iter().filter(kept) {
            if !begins_with(file, &rules(said)) && !NO_RULE.contains(&word.as_str()) {
                wrong.push(format!("{}: has {rule}, does not begin so", file.path));
            }
        }
        let row = |l: &str| l.starts_with('|') && l.contains(&format!("`{word}`"));
        if !races.lines().any(row) && !NO_RULE.contains(&word.as_str()) {
            wrong.push(format!("{word}: no race"));
        }
    }
    assert!(all.len() > 15, "only {} switches", all.len());
    none(&wrong);
}

/// The races of the table: name and page.
fn table(readme: &str) -> Vec<(String, String)> {
    let row = |line: &str| {
        let cell = line.strip_prefix('|')?.split('|').nth(1)?.trim();
        let (name, page) = cell.strip_prefix('[')?.split_once("](")?;
        let page = page.trim_end_matches(')').split('#').next()?;
        Some((name.to_string(), page.to_string()))
    };
    readme.lines().filter_map(row).collect()
}

#[test]
fn each_race_has_a_page_with_a_picture() {
    let table = table(&text("Documentation/races/README.md"));
    let lab = source::files(&["tests/lab/src"], &[".rs"]);
    let mut wrong = Vec::new();
    for (name, page) in &table {
        let told = text(&format!("Documentation/races/{page}"));
        if !told.contains("```") {
            wrong.push(format!("{page}: no picture"));
        }
        if !lab.iter().any(|f| f.text.contains(&format!("\"{name}\""))) {
            wrong.push(format!("{name}: not in tests/lab"));
        }
    }
    for file in source::files(&["Documentation/races"], &[".md"]) {
        let page = file.path.rsplit('/').next().unwrap();
        if page != "README.md" && !table.iter().any(|(_, p)| p == page) {
            wrong.push(format!("{page}: not in the table"));
        }
    }
    assert!(table.len() > 20, "only {} races", table.len());
    none(&wrong);
}

#[test]
fn the_search_for_rooms_finds() {
    assert_eq!(
        rules("Rules 2, 3 and 10: x. By rule 7 it is 64"),
        [2, 3, 7, 10].into()
    );
    assert!(rules("the rules of 12 files").is_empty());
    let room = "// x\n//! Rules 2 and 3: y. Rule 4: z\n\n    // Rule 3.\nf(\"rule 5\");";
    assert_eq!(kept(room), [2, 3].into());
    assert_eq!(at_lines(room), [3].into());
    assert!(kept("//! What rule 7 says: z").is_empty());
    let list = "//!   map.rs     an iomap: rules 3, 4\n//! see map.rs for rule 5";
    assert_eq!(listed(list), [("map.rs".into(), [3, 4].into())].into());
    let told = "# t\n\n## 1. One\nmap.rs\n\n## Where\nx\n";
    assert_eq!(sections(told), [(1, "1. One\nmap.rs\n")].into());
    let rows = "//! | `a`: `b::c`, d | `e` |\n//! text `f` |\n//! |---|---|";
    assert_eq!(callbacks(rows), ["a", "b", "c"].map(String::from).into());
    let code = "impl A for B { fn a() {} #[cfg(X)] fn b() {} } impl B { fn c() {} }
        impl Drop for B { fn drop(&mut self) {} }";
    assert_eq!(implemented(&syn::parse_file(code).unwrap()), ["a"]);
    let lab = "    Rule {\n/// One\n/// two (rule 3).\nA = c\"a-b\",\n}";
    let want = ("A".into(), "a-b".into(), " One two (rule 3).".into());
    assert_eq!(switches(lab), [want]);
    assert_eq!(
        table("| 1 | [x](01-x.md#y) | z |\n| n | m |"),
        [("x".into(), "01-x.md".into())]
    );
}
