// SPDX-License-Identifier: GPL-2.0
//! What a history is made of.

use crate::place::{Length, Place};
use serde::{Deserialize, Serialize};

/// All names there are: few, so that operations meet each other. The first ones oftener. The last
/// one is no name, but the file that is held open.
const NAMES: [&str; 9] = ["a", "b", "c", "d", "d/a", "d/b", "e", "e/a", "(held)"];
/// Those of them that are names.
const PATHS: usize = 8;

/// One of [`NAMES`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Name(u8);

impl Name {
    pub fn text(self) -> &'static str {
        NAMES[usize::from(self.0)]
    }

    /// The file that is held open, whether it has a name or not.
    pub const HELD: Name = Name(PATHS as u8);

    /// Those that are there from the start.
    pub const FIRST: [Name; 2] = [Name(0), Name(1)];

    /// All that are names.
    pub fn all() -> Vec<Name> {
        (0..PATHS as u8).map(Name).collect()
    }
}

impl std::convert::From<Name> for String {
    fn from(name: Name) -> String {
        name.text().to_string()
    }
}

impl TryFrom<String> for Name {
    type Error = String;

    fn try_from(text: String) -> Result<Name, String> {
        let found = NAMES.iter().position(|name| *name == text);
        let name = found.map(|at| Name(at as u8));
        name.ok_or_else(|| format!("no name {text}"))
    }
}

/// How bytes get into a file.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub enum Way {
    Buffered,
    /// write(2) at the end, with O_APPEND.
    Append,
    /// Buffered, with O_DSYNC.
    Dsync,
    Direct,
    DirectDsync,
    /// By io_submit.
    Async,
    /// Direct, of at most a page, from a mapping of the file itself a page before.
    Own,
    /// Stores through a shared mapping; behind the end as far as the last page goes.
    Mapped,
}

/// A way to see what a file holds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub enum View {
    Buffered,
    Mapped,
    Direct,
    /// By read(2) of what SEEK_DATA and SEEK_HOLE say is data.
    Seek,
    /// By read(2) of what FIEMAP says is written.
    Fiemap,
}

impl View {
    pub const ALL: [View; 5] = [
        View::Seek,
        View::Buffered,
        View::Mapped,
        View::Direct,
        View::Fiemap,
    ];
}

/// How fallocate is called.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub enum Space {
    Allocate,
    KeepSize,
    Punch,
    Zero,
    ZeroKeepSize,
    Collapse,
    Insert,
}

/// What is brought to the disk.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub enum Sync {
    Fsync,
    Fdatasync,
    /// sync_file_range: of the data, waits for it, promises nothing.
    Range,
    All,
}

/// How a name moves.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub enum Move {
    Replace,
    NoReplace,
    Exchange,
    /// Leaves a whiteout.
    Whiteout,
}

/// What becomes of the extended attribute of a name.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub enum Attribute {
    /// It fits into the inode.
    Small,
    /// It has a block.
    Large,
    Removed,
}

/// What a name has of the flags that chattr(1) sets, of those that promise something.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Flag {
    #[default]
    None,
    Sync,
    /// Of directories only.
    Dirsync,
}

/// One step.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub enum Op {
    Create(Name),
    Write(Name, Place, Length, Way),
    Truncate(Name, Place),
    Fallocate(Name, Place, Length, Space),
    Sync(Name, Sync),
    Look(Name, View),
    /// posix_fadvise(POSIX_FADV_DONTNEED).
    Forget(Name),
    /// A file is opened and mapped, and stays so, whatever becomes of its name.
    Hold(Name),
    /// As [`Op::Look`], through that mapping.
    LookHeld,
    Release,
    /// Clean pages, dentries and inodes of all files leave the memory.
    Evict,
    Remount,
    /// Remounted read-only, and read-write again.
    ReadOnly,
    Freeze,
    /// The disk refuses to be written for a moment, and what is dirty of the file is written then.
    Lose(Name),
    /// The power fails: what is on the device now is what is mounted next. What was promised is
    /// there; the rest as it may be.
    Cut,
    Mkdir(Name),
    Rmdir(Name),
    Unlink(Name),
    Link(Name, Name),
    Symlink(Name),
    Rename(Name, Name, Move),
    Chmod(Name, u16),
    Attribute(Name, Attribute),
    Flag(Name, Flag),
}

impl Op {
    /// The file of which the page cache has something now that the disk may not have.
    pub fn cached(&self) -> Option<Name> {
        match self {
            Op::Write(name, _, _, Way::Buffered | Way::Append | Way::Mapped) => Some(*name),
            _ => None,
        }
    }

    /// Whether something is there after a power cut because of this step.
    pub fn is_promise(&self) -> bool {
        matches!(
            self,
            Op::Sync(_, Sync::Fsync | Sync::Fdatasync | Sync::All)
                | Op::Write(_, _, _, Way::Dsync | Way::DirectDsync)
        )
    }

    /// The same, where all or some is synchronous.
    pub fn may_be_promise(&self) -> bool {
        let names = matches!(
            self,
            Op::Create(_)
                | Op::Mkdir(_)
                | Op::Rmdir(_)
                | Op::Unlink(_)
                | Op::Link(..)
                | Op::Symlink(_)
                | Op::Rename(..)
        );
        let other = matches!(
            self,
            Op::Write(..) | Op::Truncate(..) | Op::Fallocate(..) | Op::Attribute(..) | Op::Flag(..)
        );
        self.is_promise() || names || other
    }
}

/// How it is mounted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Mount {
    #[default]
    Usual,
    /// With `sync`.
    Sync,
    /// With `dirsync`.
    Dirsync,
}

impl Mount {
    /// As a mount option, with a comma before it.
    pub fn option(self) -> &'static str {
        match self {
            Mount::Usual => "",
            Mount::Sync => ",sync",
            Mount::Dirsync => ",dirsync",
        }
    }

    /// Which of them these options have.
    pub fn of(options: &str) -> Mount {
        let has = |word| options.split(',').any(|option| option == word);
        match (has("sync"), has("dirsync")) {
            (true, _) => Mount::Sync,
            (false, true) => Mount::Dirsync,
            (false, false) => Mount::Usual,
        }
    }
}

/// The image that a history runs on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Image {
    Block4k,
    Block1k,
    Block2k,
    NoChecksums,
    /// Without extents: files have block maps.
    Maps4k,
    Maps1k,
    /// All that a history makes is encrypted, with a key that is added at each mount.
    Crypt4k,
    Crypt1k,
    /// Of several groups, the last of which are empty.
    Groups4k,
    /// So, and with an orphan file.
    Orphans1k,
}

/// The disk below it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Disk {
    /// Has a cache that wants flushes, and completes in interrupts.
    Cached,
    /// In memory: has no cache, and completes where it is asked.
    Ram,
}

/// What is done, one after the other, in a new directory that has two empty files, `a` and `b`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct History {
    pub image: Image,
    pub disk: Disk,
    #[serde(default)]
    pub mount: Mount,
    /// So many blocks are free, if not all are.
    pub room: Option<u64>,
    pub steps: Vec<Op>,
}

/// What a batch of histories runs on: one after the other, what finds most oftener.
pub fn ground(batch: u64) -> (Image, Disk, Mount) {
    use Image::{Block1k, Block2k, Block4k, Crypt1k, Crypt4k};
    use Image::{Groups4k, Maps1k, Maps4k, NoChecksums, Orphans1k};
    // Of numbers that have no factor in common: each comes with each.
    const IMAGES: [Image; 13] = [
        Block4k,
        Groups4k,
        Block4k,
        Orphans1k,
        Maps4k,
        Block1k,
        NoChecksums,
        Block2k,
        Block1k,
        Block4k,
        Maps1k,
        Crypt4k,
        Crypt1k,
    ];
    const DISKS: [Disk; 2] = [Disk::Cached, Disk::Ram];
    const MOUNTS: [Mount; 7] = {
        use Mount::{Dirsync, Sync, Usual};
        [Usual, Usual, Sync, Usual, Usual, Dirsync, Usual]
    };
    let of = |n: usize| (batch % n as u64) as usize;
    (
        IMAGES[of(IMAGES.len())],
        DISKS[of(DISKS.len())],
        MOUNTS[of(MOUNTS.len())],
    )
}
