// SPDX-License-Identifier: GPL-2.0
//! What a history is made of, and how one is drawn.

use crate::place::{Length, Place, Style};
use proptest::prelude::*;
use serde::{Deserialize, Serialize};

/// All names there are: few, so that operations meet each other. The first ones oftener. The last
/// one is no name, but the file that is held open.
const NAMES: [&str; 9] = ["a", "b", "c", "d", "d/a", "d/b", "e", "e/a", "(held)"];
/// Those of them that are names.
const PATHS: u8 = 8;

/// One of [`NAMES`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Name(u8);

impl Name {
    pub fn text(self) -> &'static str {
        NAMES[usize::from(self.0)]
    }

    /// The file that is held open, whether it has a name or not.
    pub const HELD: Name = Name(PATHS);

    /// Those that are there from the start.
    pub const FIRST: [Name; 2] = [Name(0), Name(1)];
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
    Freeze,
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
}

fn name() -> impl Strategy<Value = Name> {
    prop_oneof![
        12 => Just(Name(0)),
        4 => Just(Name(1)),
        4 => (0..PATHS).prop_map(Name),
    ]
}

/// What data operations are about.
fn file() -> impl Strategy<Value = Name> {
    prop_oneof![17 => name(), 4 => Just(Name::HELD)]
}

fn any_name() -> impl Strategy<Value = Name> {
    (0..PATHS).prop_map(Name)
}

fn way() -> impl Strategy<Value = Way> {
    prop_oneof![
        6 => Just(Way::Buffered),
        2 => Just(Way::Append),
        1 => Just(Way::Dsync),
        3 => Just(Way::Direct),
        2 => Just(Way::DirectDsync),
        2 => Just(Way::Async),
        4 => Just(Way::Mapped),
    ]
}

fn view() -> impl Strategy<Value = View> {
    prop::sample::select(View::ALL.to_vec())
}

fn space() -> impl Strategy<Value = Space> {
    prop_oneof![
        2 => Just(Space::Allocate),
        2 => Just(Space::KeepSize),
        4 => Just(Space::Punch),
        2 => Just(Space::Zero),
        2 => Just(Space::ZeroKeepSize),
    ]
}

fn sync() -> impl Strategy<Value = Sync> {
    prop_oneof![
        3 => Just(Sync::Fsync),
        2 => Just(Sync::Fdatasync),
        2 => Just(Sync::Range),
        1 => Just(Sync::All),
    ]
}

fn data(style: Style) -> BoxedStrategy<Op> {
    let range = || (file(), style.place(), style.length());
    prop_oneof![
        12 => (range(), way()).prop_map(|((n, at, len), way)| Op::Write(n, at, len, way)),
        5 => (file(), style.place()).prop_map(|(n, at)| Op::Truncate(n, at)),
        7 => (range(), space()).prop_map(|((n, at, len), how)| Op::Fallocate(n, at, len, how)),
        4 => (file(), sync()).prop_map(|(n, how)| Op::Sync(n, how)),
        5 => (file(), view()).prop_map(|(n, view)| Op::Look(n, view)),
        1 => file().prop_map(Op::Forget),
        2 => name().prop_map(Op::Hold),
        1 => prop::sample::select(vec![Op::LookHeld, Op::LookHeld, Op::Release]),
    ]
    .boxed()
}

fn whole() -> BoxedStrategy<Op> {
    prop::sample::select(vec![Op::Evict, Op::Remount, Op::Freeze, Op::Cut]).boxed()
}

fn names() -> BoxedStrategy<Op> {
    let how = prop::sample::select(vec![
        Move::Replace,
        Move::Replace,
        Move::NoReplace,
        Move::Exchange,
    ]);
    prop_oneof![
        6 => name().prop_map(Op::Create),
        3 => any_name().prop_map(Op::Mkdir),
        1 => any_name().prop_map(Op::Rmdir),
        2 => any_name().prop_map(Op::Unlink),
        3 => (name(), any_name()).prop_map(|(a, b)| Op::Link(a, b)),
        1 => any_name().prop_map(Op::Symlink),
        4 => (any_name(), any_name(), how).prop_map(|(a, b, how)| Op::Rename(a, b, how)),
        1 => (any_name(), 0u16..0o1000).prop_map(|(n, mode)| Op::Chmod(n, mode)),
    ]
    .boxed()
}

/// The image that a history runs on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Image {
    Block4k,
    Block1k,
    Block2k,
    NoChecksums,
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
    /// So many blocks are free, if not all are.
    pub room: Option<u64>,
    pub steps: Vec<Op>,
}

/// What a batch of histories runs on: one after the other, what finds most oftener.
pub fn ground(batch: u64) -> (Image, Disk) {
    use Image::{Block1k, Block2k, Block4k, NoChecksums};
    const IMAGES: [Image; 7] = [
        Block4k,
        Block1k,
        Block4k,
        Block2k,
        Block4k,
        Block1k,
        NoChecksums,
    ];
    const DISKS: [Disk; 2] = [Disk::Cached, Disk::Ram];
    let of = |n: usize| (batch % n as u64) as usize;
    (IMAGES[of(IMAGES.len())], DISKS[of(DISKS.len())])
}

/// Histories of so many steps on average. None of them has a least length, so all can shrink. Some
/// end with a power cut.
pub fn history(
    (image, disk): (Image, Disk),
    style: Style,
    steps: usize,
) -> impl Strategy<Value = History> {
    let op = prop_oneof![75 => data(style), 20 => names(), 3 => whole()];
    let steps = prop::collection::vec(op, 0..=2 * steps);
    let cut = prop::bool::weighted(0.3);
    let room = prop::option::weighted(0.15, 0u64..48);
    (steps, cut, room).prop_map(move |(mut steps, cut, room)| {
        steps.extend(cut.then_some(Op::Cut));
        History {
            image,
            disk,
            room,
            steps,
        }
    })
}
