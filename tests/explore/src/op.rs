// SPDX-License-Identifier: GPL-2.0
//! The grammar: what a thread under test may do, and how it is written down. An operation is about
//! bytes of a file, or about names; a program has either.

use std::fmt;
use std::str::FromStr;

/// No operation is about a byte behind this one. Where nothing is inserted the files have none.
pub const MOST: u64 = 16384;

macro_rules! verbs {
    ($($name:ident $short:literal $words:literal,)+) => {
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
        pub enum Verb {
            $($name,)+
        }

        impl Verb {
            pub const ALL: &'static [Verb] = &[$(Verb::$name,)+];

            /// As it stands in a schedule.
            pub fn short(self) -> &'static str {
                match self {
                    $(Verb::$name => $short,)+
                }
            }

            fn words(self) -> &'static str {
                match self {
                    $(Verb::$name => $words,)+
                }
            }
        }
    };
}

impl Verb {
    /// May it need blocks? A full disk may refuse it then. What was taken before must get there
    /// all the same, and to look at it needs none.
    pub fn wants_space(self) -> bool {
        use Verb::*;
        let names = matches!(
            self,
            Create | MakeFolder | Link | Rename | NoReplace | Whiteout
        );
        let names = names || self == SetLarge;
        self.writes()
            || self == OwnWrite
            || self.plans()
            || names
            || self.shifts()
            || matches!(self, Punch | Truncate | MoveExtents)
    }
}

verbs! {
    BufferedWrite "bw" "buffered write",
    HalfWrite "hw" "buffered write, half of whose bytes cannot be had, of",
    BufferedRead "br" "buffered read",
    DirectWrite "dw" "direct write",
    DirectRead "dr" "direct read",
    AsyncWrite "aw" "asynchronous direct write",
    AppendWrite "ap" "buffered append to",
    AppendDirect "ad" "direct append to",
    DurableWrite "bs" "buffered write with RWF_DSYNC",
    DurableDirect "ds" "direct write with RWF_DSYNC",
    SoonWrite "wn" "buffered write with RWF_NOWAIT",
    SoonDirect "dn" "direct write with RWF_NOWAIT",
    OwnWrite "ow" "direct write of its own mapping to",
    RingWrite "uw" "io_uring write",
    RingRead "ur" "io_uring read",
    RingDirectWrite "vw" "io_uring direct write",
    RingDirectRead "vr" "io_uring direct read",
    Store "st" "store through a mapping",
    SyncStore "ss" "store through a mapping with MAP_SYNC",
    Load "ld" "load from a mapping",
    Deliver "de" "direct read of a device into a mapping of",
    Pin "pn" "ask a device for what goes into a mapping of",
    Bring "dl" "the device delivers",
    ReadInto "ri" "direct read of a file of its own into a mapping of",
    Punch "pu" "punch",
    Zero "ze" "zero range",
    ZeroKeep "zk" "zero range, size kept",
    Allocate "al" "allocate",
    KeepSize "ks" "allocate, size kept",
    CollapseRange "cl" "collapse range",
    InsertRange "in" "insert range",
    MoveExtents "mv" "EXT4_IOC_MOVE_EXT with a file of its own, of",
    Truncate "tr" "truncate",
    OpenEmpty "ot" "open with O_TRUNC",
    Unname "un" "unlink",
    Replace "ro" "rename another file to",
    Fsync "fs" "fsync",
    SyncRange "sr" "sync_file_range",
    Evict "ev" "write back and drop the pages of",
    Collapse "co" "MADV_COLLAPSE",
    Freeze "fr" "freeze and thaw",
    StayFrozen "fz" "freeze",
    Thaw "th" "thaw",
    SeekData "sd" "SEEK_DATA",
    SeekHole "sh" "SEEK_HOLE",
    Fiemap "fm" "FIEMAP",
    Commit "cm" "commit, by fsync of another file",
    Create "cr" "create",
    MakeFolder "mk" "mkdir",
    Link "li" "link",
    Rename "rn" "rename",
    NoReplace "rr" "rename without replacing",
    Exchange "rx" "exchange",
    Whiteout "rw" "rename, leaving a whiteout,",
    Unlink "ul" "unlink",
    RemoveFolder "rd" "rmdir",
    LookUp "lk" "look up",
    Hold "op" "open, and keep open,",
    SetSmall "sa" "set a small attribute of",
    SetLarge "sl" "set a large attribute of",
    ReadAttribute "ga" "read the attribute of",
    RemoveAttribute "ra" "remove the attribute of",
    List "ls" "list",
    SyncFolder "fd" "fsync of directory",
}

/// What an operation is about.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    Bytes,
    Names,
}

impl Verb {
    /// Either, for those that are about all of the file system.
    pub fn kind(self) -> Option<Kind> {
        use Verb::*;
        match self {
            Commit | Freeze | StayFrozen | Thaw => None,
            v if v.has_name() || v.has_folder() => Some(Kind::Names),
            _ => Some(Kind::Bytes),
        }
    }

    /// May a program of this kind have it?
    pub fn suits(self, kind: Kind) -> bool {
        self.kind().is_none_or(|own| own == kind)
    }

    fn has_name(self) -> bool {
        use Verb::*;
        let one = matches!(self, Create | MakeFolder | Unlink | RemoveFolder);
        one || self.has_two_names() || self.has_attribute() || matches!(self, LookUp | Hold)
    }

    /// It is about the extended attribute of what has the name.
    pub fn has_attribute(self) -> bool {
        use Verb::*;
        matches!(self, SetSmall | SetLarge | ReadAttribute | RemoveAttribute)
    }

    /// `at` is the second one.
    pub fn has_two_names(self) -> bool {
        use Verb::*;
        matches!(self, Link | Rename | NoReplace | Exchange | Whiteout)
    }

    /// It is about one of the directories.
    pub fn has_folder(self) -> bool {
        matches!(self, Verb::List | Verb::SyncFolder)
    }

    /// `file` is one of these.
    fn places(self) -> &'static [char] {
        match self {
            v if v.has_folder() => FOLDERS,
            v if v.has_name() => NAMES,
            _ => FILES,
        }
    }
}

impl Verb {
    /// The files it is about have bytes where it says so, and not elsewhere.
    pub fn has_range(self) -> bool {
        use Verb::*;
        self.kind() != Some(Kind::Names)
            && !matches!(
                self,
                Truncate | Fsync | Evict | Collapse | SeekData | SeekHole
            )
            && !matches!(self, Bring | OpenEmpty | Unname | Replace)
            && self.kind().is_some()
    }

    /// It says where in the file.
    pub fn has_place(self) -> bool {
        use Verb::*;
        self.has_range() || matches!(self, Truncate | SeekData | SeekHole)
    }

    /// Bytes get into the file, or out of it, by way of a mapping.
    pub fn is_mapped(self) -> bool {
        self.stores() || self.pins() || self == Verb::Load
    }

    /// The thread itself stores.
    pub fn stores(self) -> bool {
        matches!(self, Verb::Store | Verb::SyncStore)
    }

    /// Somebody else does, who has the pages of the mapping pinned.
    pub fn pins(self) -> bool {
        matches!(self, Verb::Deliver | Verb::Pin | Verb::ReadInto)
    }

    /// What it begins lasts until this one of the same thread; and what it is if that never comes.
    pub fn lasts(self) -> Option<(Verb, Verb)> {
        match self {
            Verb::Pin => Some((Verb::Bring, Verb::Deliver)),
            Verb::StayFrozen => Some((Verb::Thaw, Verb::Freeze)),
            _ => None,
        }
    }

    /// Nobody changes the file system from one moment of it on.
    pub fn freezes(self) -> bool {
        matches!(self, Verb::Freeze | Verb::StayFrozen)
    }

    /// It asks for holes.
    pub fn asks(self) -> bool {
        matches!(self, Verb::SeekData | Verb::SeekHole | Verb::Fiemap)
    }

    /// What is behind `at` goes.
    pub fn cuts(self) -> bool {
        matches!(self, Verb::Truncate | Verb::OpenEmpty)
    }

    /// The file may have no name any more, or another one has it.
    pub fn takes_name(self) -> bool {
        matches!(self, Verb::Unname | Verb::Replace)
    }

    /// What it puts on the disk is its letter, or what was there before.
    pub fn is_direct_write(self) -> bool {
        self.is_direct() && !self.reads()
    }

    /// Whole sectors only.
    pub fn has_sectors(self) -> bool {
        self.is_direct() || self.pins()
    }

    /// Past the page cache.
    pub fn is_direct(self) -> bool {
        use Verb::*;
        let rings = matches!(self, RingDirectWrite | RingDirectRead);
        let flags = matches!(self, AppendDirect | DurableDirect | SoonDirect);
        rings || flags || matches!(self, DirectWrite | DirectRead | AsyncWrite | OwnWrite)
    }

    /// It writes where the file ends then, which it says afterwards.
    pub fn appends(self) -> bool {
        matches!(self, Verb::AppendWrite | Verb::AppendDirect)
    }

    /// Where it would have to wait it does a part, or nothing and fails with EAGAIN.
    pub fn must_not_wait(self) -> bool {
        matches!(self, Verb::SoonWrite | Verb::SoonDirect)
    }

    /// The flags of pwritev2(2), if it takes some.
    pub fn flags(self) -> Option<i32> {
        use Verb::*;
        match self {
            DurableWrite | DurableDirect => Some(libc::RWF_DSYNC),
            SoonWrite | SoonDirect => Some(libc::RWF_NOWAIT),
            _ => None,
        }
    }

    /// What lies behind gets another place.
    pub fn shifts(self) -> bool {
        matches!(self, Verb::CollapseRange | Verb::InsertRange)
    }

    /// A block map cannot have it.
    pub fn wants_extents(self) -> bool {
        self.shifts() || self.plans() || self == Verb::MoveExtents
    }

    /// It allocates what is written later.
    fn plans(self) -> bool {
        use Verb::*;
        matches!(self, Allocate | KeepSize | Zero | ZeroKeep)
    }

    /// It comes back with bytes of the file.
    pub fn reads(self) -> bool {
        use Verb::*;
        matches!(self, BufferedRead | DirectRead | RingRead | RingDirectRead)
    }

    /// It leaves its letter in the file.
    pub fn writes(self) -> bool {
        use Verb::*;
        let rings = matches!(self, RingWrite | RingDirectWrite);
        let calls = matches!(self, BufferedWrite | HalfWrite | DirectWrite | AsyncWrite);
        let ways = self.appends() || self.flags().is_some();
        rings || calls || ways || self.stores() || self.pins()
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Op {
    pub verb: Verb,
    /// Which of the files.
    pub file: u8,
    pub at: u64,
    pub len: u64,
}

/// The names of the files.
pub const FILES: &[char] = &['a', 'b'];
/// Those in the two directories: x and y are in m, u and v in n.
pub const NAMES: &[char] = &['x', 'y', 'u', 'v'];
pub const FOLDERS: &[char] = &['m', 'n'];
/// Names of each directory.
pub const EACH: usize = NAMES.len() / FOLDERS.len();

impl Op {
    pub fn end(&self) -> u64 {
        self.at + self.len
    }

    /// Of what it writes so much can be had.
    pub fn given(&self) -> u64 {
        match self.verb {
            Verb::HalfWrite => self.len.div_ceil(2),
            _ => self.len,
        }
    }

    /// In a sentence.
    pub fn words(&self) -> String {
        let (verb, file) = (
            self.verb.words(),
            self.verb.places()[usize::from(self.file)],
        );
        match self.verb {
            v if v.has_two_names() => format!("{verb} {file} and {}", NAMES[self.at as usize]),
            Verb::Truncate => format!("{verb} {file} to {}", self.at),
            v if v.appends() => format!("{verb} {file} of {} bytes", self.len),
            v if v.kind().is_none() || v == Verb::Bring => verb.to_string(),
            v if v.has_range() => format!("{verb} {file} {}..{}", self.at, self.end()),
            v if v.has_place() => format!("{verb} {file} from {}", self.at),
            _ => format!("{verb} {file}"),
        }
    }
}

impl fmt::Display for Op {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let file = self.verb.places()[usize::from(self.file)];
        write!(f, "{}.{file}", self.verb.short())?;
        if self.verb.has_two_names() {
            write!(f, ".{}", NAMES[self.at as usize])?;
        }
        if self.verb.has_place() {
            write!(f, ".{}", self.at)?;
        }
        if self.verb.has_range() {
            write!(f, "+{}", self.len)?;
        }
        Ok(())
    }
}

impl FromStr for Op {
    type Err = String;

    fn from_str(text: &str) -> Result<Op, String> {
        let mut parts = text.split('.');
        let (verb, file) = (parts.next().unwrap_or(""), parts.next().unwrap_or(""));
        let verb = Verb::ALL.iter().find(|v| v.short() == verb);
        let verb = *verb.ok_or_else(|| format!("no such operation: {text}"))?;
        let find = |all: &[char], word: &str| all.iter().position(|c| word == c.to_string());
        let file = find(verb.places(), file);
        let file = file.ok_or_else(|| format!("no such file: {text}"))?;
        let bad = || format!("no such place: {text}");
        let number = |word: &str| word.parse::<u64>().map_err(|_| bad());
        let (at, len) = match (parts.next(), verb.has_range()) {
            (Some(place), true) => {
                let (at, len) = place.split_once('+').ok_or_else(bad)?;
                (number(at)?, number(len)?)
            }
            (Some(at), false) if verb.has_place() => (number(at)?, 0),
            (Some(name), false) if verb.has_two_names() => {
                (find(NAMES, name).ok_or_else(bad)? as u64, 0)
            }
            (None, false) if !verb.has_place() && !verb.has_two_names() => (0, 0),
            _ => return Err(bad()),
        };
        let op = Op {
            verb,
            file: file as u8,
            at,
            len,
        };
        if parts.next().is_some() || at.saturating_add(len) > MOST {
            return Err(bad());
        }
        if verb.has_range() && len == 0 || verb.has_sectors() && (at | len) % 512 != 0 {
            return Err(bad());
        }
        Ok(op)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_and_back() {
        let bytes = ["bw.a.0+4096", "tr.b.512", "fs.a", "cl.b.0+1024", "cm.a"];
        let names = ["cr.x", "rw.x.v", "sl.u", "li.u.u", "ls.n", "fd.m", "op.y"];
        for text in bytes.into_iter().chain(names) {
            assert_eq!(text.parse::<Op>().unwrap().to_string(), text);
        }
        let wrong = [
            "",
            "xx.a",
            "bw.c.0+1",
            "bw.a",
            "bw.a.0",
            "bw.a.0+0",
            "fs.a.1",
            "dw.a.1+512",
            "de.a.0+100",
            "bw.a.16384+1",
            "tr.a.1.2",
            "tr.a.x",
            "cr.a",
            "cr.x.y",
            "rn.x",
            "rn.x.m",
            "ls.x",
            "bw.x.0+1",
        ];
        for text in wrong {
            assert!(text.parse::<Op>().is_err(), "{text}");
        }
    }

    #[test]
    fn names_are_unique() {
        for (i, v) in Verb::ALL.iter().enumerate() {
            assert!(Verb::ALL[i + 1..].iter().all(|w| w.short() != v.short()));
        }
    }
}
