// SPDX-License-Identifier: GPL-2.0

//! Each rule of the data path has a room, whose first lines name it; each switch of the lab belongs
//! to a rule, stands where that is kept, and has a race; each race has a page with a picture.

use crate::{none, source};
use std::collections::BTreeSet;

/// Lists the rooms, and so names each rule; it is the room of none.
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
fn head(file: &source::File) -> String {
    let lines = file.text.lines().skip_while(|l| !l.starts_with("//!"));
    let head = lines.take_while(|l| l.starts_with("//!"));
    head.map(|l| l.trim_start_matches("//!"))
        .collect::<Vec<_>>()
        .join(" ")
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
    let number = |line: &str| line.strip_prefix("## ")?.split_once(". ")?.0.parse().ok();
    let all: BTreeSet<u32> = path.lines().filter_map(number).collect();
    let files = source::files(&["rust"], &[".rs"]);
    let rooms = files.iter().filter(|f| f.path != LIST);
    let kept: BTreeSet<u32> = rooms.flat_map(|f| rules(&head(f))).collect();
    let homeless = all.difference(&kept);
    let mut wrong: Vec<_> = homeless
        .map(|n| format!("rule {n}: no file begins with it"))
        .collect();
    let unknown = kept.difference(&all);
    wrong.extend(unknown.map(|n| format!("rule {n} is not in data-path.md")));
    assert_eq!(all.len(), 12);
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
        let kept = |f: &&source::File| !f.path.starts_with("rust/fs/lab") && f.text.contains(&rule);
        let inside =
            |f: &&source::File| f.path.starts_with("rust/fs/lab/") && f.text.contains(&rule);
        if files
            .iter()
            .find(kept)
            .or(files.iter().find(inside))
            .is_none()
        {
            wrong.push(format!("{word}: no line asks for {rule}"));
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
    let lab = "    Rule {\n/// One\n/// two (rule 3).\nA = c\"a-b\",\n}";
    let want = ("A".into(), "a-b".into(), " One two (rule 3).".into());
    assert_eq!(switches(lab), [want]);
    assert_eq!(
        table("| 1 | [x](01-x.md#y) | z |\n| n | m |"),
        [("x".into(), "01-x.md".into())]
    );
}
