// SPDX-License-Identifier: GPL-2.0
//! From a trace to columns and lines.

use super::parse::{Event, MARK};
use super::words::{self, File};
use crate::race::{Mode, Race};
use std::collections::HashMap;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// What a thread sets out to do.
    Step,
    /// What the kernel does for it.
    Event,
    /// It waits at a point of the lab.
    Parked,
    /// It waits, and that is part of the situation.
    Blocked,
    /// The protection shows.
    Caught,
    Harm,
    /// What was looked at is as it must be.
    Good,
    /// Held no more.
    Released,
    Done,
}

pub struct Line {
    pub column: usize,
    pub kind: Kind,
    pub text: String,
    /// Event, file, first page and count: neighbours become one line.
    pages: Option<(String, String, u64, u64)>,
}

/// A thread waits from one line (which says so) up to another.
pub struct Bar {
    pub column: usize,
    pub from: usize,
    pub to: usize,
    pub kind: Kind,
}

pub struct Timeline {
    pub given: String,
    pub columns: Vec<String>,
    pub lines: Vec<Line>,
    pub bars: Vec<Bar>,
    pub lost: bool,
    /// The run came to its end.
    pub ended: bool,
}

impl Timeline {
    pub fn harm(&self) -> bool {
        self.lines.iter().any(|l| l.kind == Kind::Harm)
    }
}

/// Does writeback ask for a mapping, or find its own out of date, before it goes on?
fn asks(e: &Event, later: &[Event]) -> bool {
    let next = later.iter().find(|l| l.pid == e.pid);
    next.is_some_and(|n| {
        n.name != "rext4_writeback_range" && n.name != "rext4_point" && n.name != MARK
    })
}

struct Builder<'a> {
    race: &'a Race,
    mode: Mode,
    out: Timeline,
    files: HashMap<(String, u64), File>,
    /// More than one file: say which.
    name_files: bool,
    threads: HashMap<u32, String>,
    /// Who arms, releases and looks: of what it does its own steps tell enough.
    conductor: Option<u32>,
    /// The name of the last event in each column; none after a step.
    before: HashMap<usize, String>,
    over: bool,
}

pub fn build(race: &Race, mode: Mode, events: &[Event], lost: bool) -> Timeline {
    let mut named: Vec<&str> = events
        .iter()
        .filter(|e| e.name == MARK)
        .filter(|e| e.get("quiet").is_none())
        .filter_map(|e| e.body.strip_prefix("file ")?.split(' ').next())
        .collect();
    named.sort_unstable();
    named.dedup();
    let mut b = Builder {
        race,
        mode,
        out: Timeline {
            given: String::new(),
            columns: Vec::new(),
            lines: Vec::new(),
            bars: Vec::new(),
            lost,
            ended: false,
        },
        files: HashMap::new(),
        name_files: named.len() > 1,
        threads: HashMap::new(),
        conductor: None,
        before: HashMap::new(),
        over: false,
    };
    for (i, e) in events.iter().enumerate() {
        match e.name == MARK {
            true => b.mark(e),
            false => b.event(e, &events[i + 1..]),
        }
    }
    let end = b.out.lines.len();
    for bar in b.out.bars.iter_mut().filter(|bar| bar.to == usize::MAX) {
        bar.to = end;
    }
    b.out
}

impl Builder<'_> {
    fn column(&mut self, name: &str) -> usize {
        match self.out.columns.iter().position(|c| c == name) {
            Some(i) => i,
            None => {
                self.out.columns.push(name.to_string());
                self.out.columns.len() - 1
            }
        }
    }

    /// The column of who did `e`: a thread of the scenario, or one of the kernel.
    fn who(&mut self, e: &Event) -> usize {
        let name = match self.threads.get(&e.pid) {
            Some(name) => name.clone(),
            None => e.comm.split('/').next().unwrap_or("kernel").to_string(),
        };
        self.column(&name)
    }

    /// Is it worth a line, after what the column told last?
    fn tells(&self, e: &Event, file: &File, column: usize) -> bool {
        let before = self.before.get(&column).map(String::as_str);
        let ours = self.threads.contains_key(&e.pid);
        let off = |s| self.mode == Mode::Off && self.race.off.contains(&s);
        match e.name.as_str() {
            name if self.catches(e) => name != "rext4_dio_fall_back" || ours,
            name if file.quiet || self.conductor == Some(e.pid) => name == "rext4_extent_insert",
            name if !ours => self.race.kernel.contains(&name),
            // The step before has said so.
            "rext4_fsync"
            | "rext4_buffered_read"
            | "rext4_buffered_write"
            | "rext4_dio_read"
            | "rext4_dio_write" => before.is_some(),
            // What was reserved or allocated is what is mapped.
            "rext4_map" => !matches!(before, Some("rext4_reserve_take" | "rext4_extent_insert")),
            "rext4_reserve_use"
            | "rext4_disize"
            | "rext4_page_mkwrite"
            | "writeback_dirty_folio" => false,
            "rext4_step" => match e.get("step") {
                Some("DRAINED") => self.race.off.contains(&"dio-wait") && !off("dio-wait"),
                Some("CACHE_DROPPED") => before != Some("mm_filemap_delete_from_page_cache"),
                Some("BLOCKS_REMOVED") => false,
                _ => true,
            },
            _ => true,
        }
    }

    /// Does the protection show in it?
    fn catches(&self, e: &Event) -> bool {
        let fits = |c: &&str| match c.split_once(' ') {
            Some((name, word)) => e.name == name && e.body.split(' ').any(|w| w == word),
            None => e.name == *c,
        };
        self.mode == Mode::On && self.race.catch.iter().any(fits)
    }

    fn say(&mut self, column: usize, kind: Kind, text: String) {
        // Whatever a thread does, it waits no more.
        let here = self.out.lines.len();
        for bar in &mut self.out.bars {
            if bar.column == column && bar.to == usize::MAX && kind != Kind::Caught {
                bar.to = here;
            }
        }
        self.out.lines.push(Line {
            column,
            kind,
            text,
            pages: None,
        });
    }

    fn wait(&mut self, column: usize, kind: Kind, text: String) {
        self.say(column, kind, text);
        self.out.bars.push(Bar {
            column,
            from: self.out.lines.len() - 1,
            to: usize::MAX,
            kind,
        });
    }

    fn mark(&mut self, e: &Event) {
        let (verb, rest) = e.body.split_once(' ').unwrap_or((&e.body, ""));
        let (who, words) = rest.split_once(": ").unwrap_or((rest, ""));
        if self.over && verb != "harm" && verb != "end" {
            return;
        }
        let words = words.to_string();
        match verb {
            "given" => self.out.given = rest.to_string(),
            "thread" => {
                self.threads.insert(e.pid, rest.to_string());
            }
            "role" => {
                self.conductor = Some(e.pid);
                self.threads.insert(e.pid, rest.to_string());
            }
            "file" => self.file(e),
            "step" => {
                let c = self.column(who);
                self.before.remove(&c);
                self.say(c, Kind::Step, words);
            }
            "done" => {
                let c = self.column(who);
                self.say(c, Kind::Done, "returns".into());
            }
            "blocked" => {
                let c = self.column(who);
                self.wait(c, Kind::Blocked, words);
            }
            "caught" => {
                let c = self.column(who);
                self.wait(c, Kind::Caught, words);
            }
            "good" => {
                let c = self.column(who);
                self.say(c, Kind::Good, words);
            }
            "harm" => {
                let c = self.column(who);
                self.say(c, Kind::Harm, words);
            }
            "over" => self.over = true,
            "end" => self.out.ended = true,
            _ => (),
        }
    }

    fn file(&mut self, e: &Event) {
        let mut words = e.body.split(' ');
        let (Some(name), Some(dev), Some(ino)) = (words.nth(1), e.get("dev"), e.num("ino")) else {
            return;
        };
        let file = File {
            name: name.to_string(),
            quiet: e.get("quiet").is_some(),
        };
        self.files.insert((dev.to_string(), ino), file);
    }

    fn event(&mut self, e: &Event, later: &[Event]) {
        if self.over {
            return;
        }
        let Some(file) = e.file().and_then(|f| self.files.get(&f)).cloned() else {
            return;
        };
        if e.name == "rext4_point" {
            self.point(e);
            return;
        }
        let known = self.race.catch.iter().any(|c| c.ends_with("_stale"));
        let Some(mut text) = words::words(e, known) else {
            return;
        };
        let column = match self.threads.get(&e.pid) {
            Some(name) => self.out.columns.iter().position(|c| c == name),
            None => None,
        };
        if !self.tells(e, &file, column.unwrap_or(usize::MAX)) {
            return;
        }
        let column = self.who(e);
        self.before.insert(column, e.name.clone());
        if let Some(page) = words::page(e) {
            if self.join_page(e, &file, column, page) {
                return;
            }
        }
        if e.name == "rext4_writeback_range" && !asks(e, later) {
            text.push_str(", by the mapping it has");
        }
        if self.name_files && !file.quiet {
            text = format!("{}: {text}", file.name);
        }
        // The same once more tells nothing.
        let last = self.out.lines.last();
        if last.is_some_and(|l| l.column == column && l.text == text) {
            return;
        }
        let kind = if self.catches(e) {
            Kind::Caught
        } else {
            Kind::Event
        };
        self.say(column, kind, text);
        if let (Some(page), Some(line)) = (words::page(e), self.out.lines.last_mut()) {
            line.pages = Some((e.name.clone(), file.name, page, 1));
        }
    }

    /// Makes one line of events of neighbouring pages.
    fn join_page(&mut self, e: &Event, file: &File, column: usize, page: u64) -> bool {
        let Some(last) = self.out.lines.last_mut().filter(|l| l.column == column) else {
            return false;
        };
        match &mut last.pages {
            Some((name, of, first, count))
                if *name == e.name && *of == file.name && page == *first + *count =>
            {
                *count += 1;
                last.text = words::pages(name, *first, *count);
                if self.name_files {
                    last.text = format!("{}: {}", file.name, last.text);
                }
                true
            }
            _ => false,
        }
    }

    fn point(&mut self, e: &Event) {
        let name = e.get("point").unwrap_or("?").to_string();
        let column = self.who(e);
        match e.get("action") {
            Some("REACHED") => self.wait(column, Kind::Parked, format!("held at {name}")),
            Some("RELEASED") => self.say(column, Kind::Released, "released".into()),
            _ => self.say(column, Kind::Event, "has waited long enough".into()),
        }
    }
}
