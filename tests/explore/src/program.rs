// SPDX-License-Identifier: GPL-2.0
//! A program: what each thread does, one operation after the other, and what is there before.

use crate::op::{Kind, Op, Verb, MOST};
use crate::pairs;
use std::fmt;
use std::str::FromStr;

pub const PAGE: u64 = 4096;
/// What the first file holds before anybody does anything.
pub const INITIAL: u8 = b'i';
/// Threads, and operations of each of them.
pub const THREADS: usize = 4;
/// Threads of the kernel that can be led at a time. Their numbers come behind those of all threads
/// that a program can have.
pub const KERNEL: usize = 2;
pub const OPS: usize = 3;

/// The first file at the beginning, the second one is empty; or, for programs about names, what is
/// in the directories m and n.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Start {
    Empty,
    /// Two pages and a sector, on disk and in the page cache.
    Written,
    /// On disk only.
    Cold,
    /// In the page cache only.
    Dirty,
    /// Allocated, nothing written.
    Unwritten,
    /// A page of data between holes.
    Sparse,
    /// A page that is allocated, and nothing written, in front of one of data.
    Part,
    /// It has a size, and nothing else.
    Hole,
    /// Each of its pages begins with a block that is allocated: where blocks are smaller, these are
    /// as many extents as an inode has room for, and one more takes a node of the tree.
    Comb,
    /// Nothing.
    Bare,
    /// x and u are files.
    Files,
    /// x and u are the same file, v another one.
    Linked,
    /// x and u are directories, y is a file.
    Folders,
    /// x is a directory that is not empty, u one that is.
    Tree,
    /// No further name fits into m's only block; u is a file.
    Crowd,
    /// m has an index of several blocks, and x, a file; u is a file.
    Index,
}

impl Start {
    pub const ALL: &'static [Start] = &[
        Start::Empty,
        Start::Written,
        Start::Cold,
        Start::Dirty,
        Start::Unwritten,
        Start::Sparse,
        Start::Part,
        Start::Hole,
        Start::Comb,
        Start::Bare,
        Start::Files,
        Start::Linked,
        Start::Folders,
        Start::Tree,
        Start::Crowd,
        Start::Index,
    ];

    pub fn kind(self) -> Kind {
        use Start::*;
        match self {
            Empty | Written | Cold | Dirty | Unwritten | Sparse | Part | Hole | Comb => Kind::Bytes,
            Bare | Files | Linked | Folders | Tree | Crowd | Index => Kind::Names,
        }
    }

    pub fn of(kind: Kind) -> Vec<Start> {
        let all = Start::ALL.iter().copied();
        all.filter(|start| start.kind() == kind).collect()
    }

    /// The nearest that there is with block maps, where nothing is unwritten.
    pub fn on_maps(self) -> Start {
        match self {
            Start::Unwritten | Start::Comb => Start::Hole,
            Start::Part => Start::Sparse,
            start => start,
        }
    }

    fn short(self) -> &'static str {
        match self {
            Start::Empty => "empty",
            Start::Written => "written",
            Start::Cold => "cold",
            Start::Dirty => "dirty",
            Start::Unwritten => "unwritten",
            Start::Sparse => "sparse",
            Start::Part => "part",
            Start::Hole => "hole",
            Start::Comb => "comb",
            Start::Bare => "bare",
            Start::Files => "files",
            Start::Linked => "linked",
            Start::Folders => "folders",
            Start::Tree => "tree",
            Start::Crowd => "crowd",
            Start::Index => "index",
        }
    }

    pub fn words(self) -> &'static str {
        match self {
            Start::Empty => "an empty file",
            Start::Written => "8704 bytes, on disk and in the page cache",
            Start::Cold => "8704 bytes on disk, none in the page cache",
            Start::Dirty => "8704 bytes, in the page cache only",
            Start::Unwritten => "8704 bytes allocated, nothing written",
            Start::Sparse => "12800 bytes, of which 4096..8192 is data",
            Start::Part => "8192 bytes allocated, of which 4096.. is data",
            Start::Hole => "8704 bytes, all of them a hole",
            Start::Comb => {
                "12800 bytes, of each page the first block is allocated, and nothing written"
            }
            Start::Bare => "nothing",
            Start::Files => "x and u are files",
            Start::Linked => "x and u are links of one file, v is another file",
            Start::Folders => "x and u are empty directories, y is a file",
            Start::Tree => "x is a directory that is not empty, u one that is",
            Start::Crowd => "the only block of m is full; u is a file",
            Start::Index => "m has an index; x and u are files",
        }
    }

    pub fn size(self) -> u64 {
        match self {
            Start::Empty => 0,
            Start::Sparse | Start::Comb => 12800,
            Start::Part => 2 * PAGE,
            start if start.kind() == Kind::Names => 0,
            _ => 8704,
        }
    }

    /// Where it has its letter.
    pub fn data(self) -> std::ops::Range<u64> {
        match self {
            Start::Unwritten | Start::Hole | Start::Comb => 0..0,
            Start::Sparse | Start::Part => PAGE..2 * PAGE,
            _ => 0..self.size(),
        }
    }
}

/// What is mounted.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Image {
    /// Block size.
    pub block: u64,
    /// The option `dio_gate`.
    pub gate: bool,
    /// The disk is full but for two blocks: what one file frees another one gets.
    pub tight: bool,
    /// Nor can these be used before the next commit: they have just been freed. One can.
    pub pending: bool,
    /// Files have block maps, not extents: of fallocate they know punch only.
    pub maps: bool,
    /// On the disk that is memory, whose files are accessed directly there (DAX).
    pub dax: bool,
    /// What is byte 0 here is far behind a hole.
    pub far: bool,
}

impl Image {
    pub const PLAIN: Image = Image {
        block: 4096,
        gate: false,
        tight: false,
        pending: false,
        maps: false,
        dax: false,
        far: false,
    };

    /// Where in the files that is which is byte 0 here. Far behind: two pages before block 2^31,
    /// where its number needs one bit more, and the low half of the byte begins again.
    pub fn base(self) -> u64 {
        match self.far {
            true => (self.block << 31) - 2 * PAGE,
            false => 0,
        }
    }

    /// As it stands in a schedule.
    fn flags(self) -> String {
        let tight = self.tight && !self.pending;
        let all = [
            (self.gate, "g"),
            (tight, "t"),
            (self.pending, "p"),
            (self.maps, "m"),
            (self.dax, "d"),
            (self.far, "f"),
        ];
        let flags = all.iter().filter(|flag| flag.0);
        flags.map(|flag| flag.1).collect()
    }
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Program {
    pub image: Image,
    /// The threads of the kernel wait at points, too.
    pub workers: bool,
    pub start: Start,
    pub threads: Vec<Vec<Op>>,
    /// A bit for each thread that waits between its operations only, and at no point.
    pub through: u8,
}

/// The letter that an operation writes.
pub fn letter(thread: usize, op: usize) -> u8 {
    b'A' + (thread * OPS + op) as u8
}

/// The name of a thread.
pub fn thread_name(thread: usize) -> char {
    match thread.checked_sub(THREADS) {
        None => char::from(b'A' + thread as u8),
        // Of the kernel.
        Some(worker) => char::from(b'W' + worker as u8),
    }
}

impl Program {
    /// Operations of all threads.
    pub fn ops(&self) -> usize {
        self.threads.iter().map(Vec::len).sum()
    }

    pub fn kind(&self) -> Kind {
        self.start.kind()
    }

    /// Does the thread pass all points?
    pub fn is_through(&self, thread: usize) -> bool {
        self.through & 1 << thread != 0
    }

    /// Is this file there?
    pub fn uses(&self, file: u8) -> bool {
        let mut ops = self.threads.iter().flatten();
        self.kind() == Kind::Bytes && (file == 0 || ops.any(|op| op.file == file))
    }

    /// May its name be gone at the end, or be another one's?
    pub fn may_be_gone(&self, file: u8) -> bool {
        let mut ops = self.threads.iter().flatten();
        ops.any(|op| op.verb.takes_name() && op.file == file)
    }

    /// The size of a file at the beginning.
    pub fn size(&self, file: u8) -> u64 {
        if file == 0 {
            self.start.size()
        } else {
            0
        }
    }

    /// The files have no byte behind this one.
    pub fn most(&self) -> u64 {
        let ops = self.threads.iter().flatten();
        let more = ops.filter(|op| op.verb == Verb::InsertRange || op.verb.appends());
        MOST + more.map(|op| op.len).sum::<u64>()
    }

    /// In plain words, a line for each thread.
    pub fn words(&self) -> String {
        let gate = if self.image.gate { ", dio_gate" } else { "" };
        let tight = match self.image {
            Image { pending: true, .. } => ", the disk full before the next commit",
            Image { tight: true, .. } => ", the disk almost full",
            _ => "",
        };
        let maps = match self.image {
            Image { maps: true, .. } => ", block maps",
            Image { dax: true, .. } => ", DAX",
            _ => "",
        };
        let far = match self.image {
            Image { far: true, .. } => format!(", byte 0 is {}", self.image.base()),
            _ => String::new(),
        };
        let workers = match self.workers {
            true => "; threads of the kernel wait, too",
            false => "",
        };
        let mut out = format!(
            "blocks of {}{gate}{tight}{maps}{far}{workers}; {}{}\n",
            self.image.block,
            match self.kind() {
                Kind::Bytes => "a: ",
                Kind::Names => "",
            },
            self.start.words()
        );
        for (thread, ops) in self.threads.iter().enumerate() {
            let words: Vec<String> = ops.iter().map(Op::words).collect();
            let through = match self.is_through(thread) {
                true => " (each without a stop)",
                false => "",
            };
            let name = thread_name(thread);
            out += &format!("  {name}: {}{through}\n", words.join("; "));
        }
        out
    }
}

impl fmt::Display for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let workers = if self.workers { "w" } else { "" };
        write!(
            f,
            "{}k{}{workers},{}:",
            self.image.block / 1024,
            self.image.flags(),
            self.start.short()
        )?;
        let threads = self.threads.iter().enumerate().map(|(thread, ops)| {
            let ops: Vec<String> = ops.iter().map(Op::to_string).collect();
            let through = if self.is_through(thread) { "!" } else { "" };
            format!("{through}{}", ops.join(","))
        });
        f.write_str(&threads.collect::<Vec<_>>().join("/"))
    }
}

/// Image, and whether threads of the kernel wait.
fn mounted(text: &str) -> Option<(Image, bool)> {
    let (block, flags) = text.split_once('k')?;
    let block = match block {
        "1" => 1024,
        "2" => 2048,
        "4" => 4096,
        _ => return None,
    };
    let mut rest = flags;
    let mut has = |flag| {
        let shorter = rest.strip_prefix(flag);
        rest = shorter.unwrap_or(rest);
        shorter.is_some()
    };
    let (gate, tight, pending) = (has('g'), has('t'), has('p'));
    let (maps, dax, far, workers) = (has('m'), has('d'), has('f'), has('w'));
    let image = Image {
        block,
        gate,
        tight: tight || pending,
        pending,
        maps,
        dax,
        far,
    };
    // Where a page is a block; and where block maps do not reach.
    if dax && (maps || block != PAGE) || far && maps {
        return None;
    }
    // One of the two is said.
    let rest = if tight && pending { flags } else { rest };
    rest.is_empty().then_some((image, workers))
}

/// Those of the threads that are marked as passing all points.
fn through(body: &str) -> u8 {
    let threads = body.split('/').take(THREADS).enumerate();
    let marked = threads.filter(|(_, text)| text.starts_with('!'));
    marked.fold(0, |all, (thread, _)| all | 1 << thread)
}

impl FromStr for Program {
    type Err = String;

    fn from_str(text: &str) -> Result<Program, String> {
        let (head, body) = text
            .split_once(':')
            .ok_or("no ':' behind what is mounted")?;
        let (words, start) = head.split_once(',').ok_or("no ',' in front of the file")?;
        let (image, workers) = mounted(words).ok_or_else(|| format!("no such image: {words}"))?;
        let all = Start::ALL.iter();
        let start = all.copied().find(|s| s.short() == start);
        let start = start.ok_or_else(|| format!("no such beginning: {head}"))?;
        let ops = |text: &str| {
            let text = text.strip_prefix('!').unwrap_or(text);
            text.split(',').map(Op::from_str).collect()
        };
        let threads: Vec<Vec<Op>> = body.split('/').map(ops).collect::<Result<_, _>>()?;
        if threads.len() > THREADS || threads.iter().any(|ops| ops.len() > OPS) {
            return Err(format!("more than {THREADS} threads of {OPS} operations"));
        }
        let mut ops = threads.iter().flatten();
        if let Some(op) = ops.find(|op| !op.verb.suits(start.kind())) {
            return Err(format!("{op} does not go with {}", start.short()));
        }
        if threads.iter().any(|ops| !pairs::open(ops).is_empty()) {
            return Err("pn ends with dl, and fz with th, of the same thread".into());
        }
        if !image.dax
            && threads
                .iter()
                .flatten()
                .any(|op| op.verb == Verb::SyncStore)
        {
            return Err("MAP_SYNC is for files that are accessed directly".into());
        }
        Ok(Program {
            image,
            workers,
            start,
            through: through(body),
            threads,
        })
    }
}

const _: () = assert!(MOST % PAGE == 0);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_and_back() {
        for text in [
            "4k,written:bw.a.0+4096/pu.a.0+4096",
            "1kgw,empty:st.a.0+100,fs.a/tr.a.512/cm.a",
            "2kw,sparse:fs.a",
            "1kgtw,sparse:fs.a",
            "4kt,sparse:fs.a",
            "1kgpw,comb:fs.a",
            "4kgm,sparse:fs.a",
            "1ktmw,sparse:fs.a",
            "4kdw,hole:ss.a.0+1/ri.a.0+512",
            "4kpd,hole:ss.a.0+1",
            "1kgfw,hole:st.a.0+1",
            "4ktdf,hole:ss.a.0+1",
            "1kg,crowd:cr.x,cm.a/ls.m",
            "4k,written:fs.a/!bw.a.0+1,pu.a.0+1/!fs.a",
            "4k,written:!fs.a",
            "4kg,written:pn.a.0+512,fs.a,dl.a/un.a,ro.b,ot.a/fz.a,br.a.0+1,th.a",
        ] {
            assert_eq!(text.parse::<Program>().unwrap().to_string(), text);
        }
        for text in [
            "",
            "4k,written",
            "3k,written:fs.a",
            "4kx,written:fs.a",
            "4kwg,written:fs.a",
            "4ktp,written:fs.a",
            "4kmt,written:fs.a",
            "4kmd,written:fs.a",
            "4kmf,written:fs.a",
            "1kd,written:fs.a",
            "4k,written:ss.a.0+1",
            "4k,nothing:fs.a",
            "4k,written:fs.a/",
            "4k,written:!!fs.a",
            "4kg,written:pn.a.0+512,fs.a",
            "4k,files:cr.x,fz.a/th.a",
            "4k,written:fs.a,!fs.a",
            "4k,written:cr.x",
            "4k,tree:fs.a",
            "4k,written:fs.a,fs.a,fs.a,fs.a",
            "4k,written:fs.a/fs.a/fs.a/fs.a/fs.a",
        ] {
            assert!(text.parse::<Program>().is_err(), "{text}");
        }
    }
}
