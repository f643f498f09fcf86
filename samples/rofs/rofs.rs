// SPDX-License-Identifier: GPL-2.0

//! rofs: a reader of romfs images (`include/uapi/linux/romfs_fs.h`, genromfs(8)).
//!
//! It shows what a file system on `rust/vfs` has to write, and that the layer asks for no more than
//! that: there is no journal here, no writeback and no iomap.
//!
//! An image consists of pieces of 16 bytes; the words in them are big-endian. A file is a header,
//! its name and its contents. The header of a file in a directory leads to the next one.

#![deny(unsafe_code)]

#[allow(dead_code, unused, reason = "the layer has more than is needed here")]
#[allow(unsafe_code, reason = "here it belongs")]
#[path = "../../rust/vfs/mod.rs"]
mod vfs;

use core::ops::Range;
use kernel::{iov::IovIterDest, prelude::*, sync::SetOnce};
use vfs::bh::BufferHead;
use vfs::dir::{DirEmitter, DirOps};
use vfs::file::FileOps;
use vfs::fill::{Fill, NewFolio};
use vfs::fs_context::MountLog;
use vfs::inode::{Iget, InodeOps, InodeRef, Time};
use vfs::kiocb::{Io, Kiocb};
use vfs::namei::Namei;
use vfs::super_block::{Describe, FileSystem, Flags, FsModule, NewSuper, StatFs};
use vfs::writeback::NoWriteback;
use vfs::InLookup;
use zerocopy::{big_endian::U32, IntoBytes};

type Inode = vfs::Inode<Rofs>;
type Sb = vfs::SuperBlock<Rofs>;

const MAGIC: u32 = 0x7275;
/// Bytes of a block of the device.
const BLOCK: u64 = 1024;
const NAME_MAX: usize = 128;
const PATH_MAX: usize = 4096;
/// The position behind the last entry of a directory, where no header can be.
const END: u64 = 1;

/// The modes of files by their type, the number in the header.
const MODES: [u16; 8] = [
    0, 0o040755, 0o100644, 0o120777, 0o060600, 0o020600, 0o140644, 0o010644,
];
/// Another name of a file.
const LINK: u32 = 0;
const DIRECTORY: u32 = 1;
const REGULAR: u32 = 2;
const SYMLINK: u32 = 3;
/// Beside the type.
const EXECUTABLE: u32 = 8;

/// No block boundary cuts one.
type Piece = [U32; 4];
const PIECE: u64 = 16;

fn sum(piece: &Piece) -> u32 {
    let add = |sum: u32, word: &U32| sum.wrapping_add(word.get());
    piece.iter().fold(0, add)
}

/// The place that a word names; its lowest bits say something else.
fn place(word: u32) -> u64 {
    u64::from(word) & !(PIECE - 1)
}

/// A mounted image: its bytes, and the place of the root's header.
struct Rofs {
    size: u64,
    root: u64,
}

/// Of an inode: where its contents begin, of a directory the first header.
struct InodeInfo(SetOnce<u64>);

/// A file's header and name.
struct Header {
    at: u64,
    /// The next one in the directory, 0 if it is the last; the type.
    next: u32,
    /// What a [`LINK`] or a [`DIRECTORY`] leads to, or the numbers of a device.
    spec: u32,
    size: u64,
    name: KVec<u8>,
    /// Where the contents begin.
    start: u64,
}

impl Header {
    /// `EUCLEAN` if there is none at `at`, which its checksum tells.
    fn read(sb: &Sb, at: u64) -> Result<Self> {
        let size = sb.data().size;
        let piece = |at: u64| -> Result<Piece> {
            if at >= size {
                return Err(EUCLEAN);
            }
            sb.bread(at / BLOCK)?.read((at % BLOCK) as usize)
        };
        let first = piece(at)?;
        let [next, spec, len, _] = first.map(|word| word.get());
        let (mut check, mut start) = (sum(&first), at + PIECE);
        let mut name = KVec::new();
        while name.last() != Some(&0) {
            let part = piece(start)?;
            check = check.wrapping_add(sum(&part));
            start += PIECE;
            name.extend_from_slice(part.as_bytes(), GFP_KERNEL)?;
            if name.len() > NAME_MAX {
                return Err(EUCLEAN);
            }
        }
        name.truncate(name.iter().position(|&byte| byte == 0).unwrap_or(0));
        // Who follows the headers comes to an end: they lie in that order in all images.
        let forward = place(next) == 0 || place(next) > at;
        if check != 0 || !forward || start + u64::from(len) > size {
            return Err(EUCLEAN);
        }
        let size = len.into();
        Ok(Self {
            at,
            next,
            spec,
            size,
            name,
            start,
        })
    }

    fn kind(&self) -> u32 {
        self.next & 7
    }

    fn mode(&self) -> u16 {
        let mode = MODES.get(self.kind() as usize).copied().unwrap_or(0);
        let execute = self.next & EXECUTABLE != 0;
        mode | if execute { 0o111 } else { 0 }
    }

    /// Calls `found` with the headers of a directory until it says that it has enough.
    fn each(dir: &Inode, mut found: impl FnMut(Self) -> Result<bool>) -> Result {
        let mut at = dir.info().0.copy().ok_or(EIO)?;
        while at != 0 {
            let header = Self::read(dir.sb(), at)?;
            at = place(header.next);
            if !found(header)? {
                break;
            }
        }
        Ok(())
    }
}

/// The inode of the file that a header is a name of. Its number is the place of its own header.
fn iget(sb: &Sb, mut header: Header) -> Result<InodeRef<'_, Rofs>> {
    if header.kind() == LINK {
        header = Header::read(sb, place(header.spec))?;
    }
    let inode = match sb.iget(header.at)? {
        Iget::Ready(inode) => return Ok(inode),
        Iget::New(inode) => inode,
    };
    inode.set_mode(header.mode());
    inode.set_size(header.size);
    inode.set_times(Time::default(), Time::default(), Time::default());
    let is_dir = header.kind() == DIRECTORY;
    let start = if is_dir {
        place(header.spec)
    } else {
        header.start
    };
    inode.info().0.populate(start);
    let ready = match header.kind() {
        // Of another name.
        LINK => return Err(EUCLEAN),
        DIRECTORY => inode.directory(),
        REGULAR => inode.regular_filled(),
        SYMLINK => inode.symlink(),
        _ => inode.special((header.spec >> 16) << 20 | header.spec & 0xffff),
    };
    Ok(ready?.publish())
}

/// Calls `take` with the blocks that hold these bytes of a file, the range in each, and the
/// position in the file.
fn each_block(
    inode: &Inode,
    bytes: Range<u64>,
    mut take: impl FnMut(&BufferHead, Range<usize>, u64) -> Result,
) -> Result {
    let start = inode.info().0.copy().ok_or(EIO)?;
    let (mut at, end) = (bytes.start, bytes.end.min(inode.size()));
    while at < end {
        let offset = (start + at) % BLOCK;
        let len = (BLOCK - offset).min(end - at);
        let block = inode.sb().bread((start + at) / BLOCK)?;
        take(&block, offset as usize..(offset + len) as usize, at)?;
        at += len;
    }
    Ok(())
}

#[vtable]
impl FileSystem for Rofs {
    type InodeInfo = InodeInfo;
    type Options = ();
    type Writeback = NoWriteback<Self>;

    const FLAGS: Flags = Flags {
        read_only: true,
        ..Flags::NONE
    };

    fn new_inode_info() -> impl PinInit<InodeInfo, Error> {
        Ok(InodeInfo(SetOnce::new()))
    }

    fn load(sb: &NewSuper<'_, Self>, _opts: &()) -> Result<impl PinInit<Self, Error>> {
        sb.set_blocksize(BLOCK as u32)?;
        let block = sb.bread(0)?;
        let first: Piece = block.read(0)?;
        let [_, _, size, _] = first.map(|word| u64::from(word.get()));
        let (mut check, mut root) = (0_u32, 0);
        for at in (0..size.min(512)).step_by(PIECE as usize) {
            let piece: Piece = block.read(at as usize)?;
            check = check.wrapping_add(sum(&piece));
            // The root comes after the name of the volume.
            if at != 0 && root == 0 && piece.as_bytes().contains(&0) {
                root = at + PIECE;
            }
        }
        let is_romfs = first.as_bytes().starts_with(b"-rom1fs-");
        if !is_romfs || check != 0 || root == 0 || size > sb.device_bytes() {
            sb.log()
                .error(fmt!("this is no romfs image, or not all of one"));
            return Err(EINVAL);
        }
        sb.set_params(MAGIC.into(), u32::MAX.into(), (0, 0, 1), 1);
        Ok(Ok(Self { size, root }))
    }

    fn start<'a>(sb: &'a Sb, _log: &MountLog<'_>) -> Result<InodeRef<'a, Self>> {
        let root = iget(sb, Header::read(sb, sb.data().root)?)?;
        root.is_dir().then_some(root).ok_or(EUCLEAN)
    }

    fn statfs(sb: &Sb) -> Result<StatFs> {
        Ok(StatFs {
            magic: MAGIC.into(),
            block_size: BLOCK as i64,
            blocks: sb.data().size.div_ceil(BLOCK),
            name_len: NAME_MAX as i64,
            ..StatFs::default()
        })
    }
}

#[vtable]
impl Namei for Rofs {
    fn lookup<'a>(dir: &'a Inode, dentry: &InLookup<Self>) -> Result<Option<InodeRef<'a, Self>>> {
        let (name, mut found) = (dentry.name(), None);
        Header::each(dir, |header| {
            if *header.name == *name {
                found = Some(iget(dir.sb(), header)?);
            }
            Ok(found.is_none())
        })?;
        Ok(found)
    }
}

#[vtable]
impl DirOps for Rofs {
    type DirFile = ();

    fn open_dir() -> impl PinInit<(), Error> {
        Ok(())
    }

    fn readdir(dir: &Inode, _file: &(), emit: &mut DirEmitter<'_>) -> Result {
        let from = emit.pos();
        let mut full = from == END;
        Header::each(dir, |header| {
            if header.at >= from && !full {
                emit.set_pos(header.at);
                // Of another name only the place is known.
                let is_link = header.kind() == LINK;
                let file = if is_link {
                    place(header.spec)
                } else {
                    header.at
                };
                full = !emit.emit(&header.name, file, (header.mode() >> 12) as u8);
            }
            Ok(!full)
        })?;
        if !full {
            emit.set_pos(END);
        }
        Ok(())
    }
}

#[vtable]
impl InodeOps for Rofs {
    fn read_link(inode: &Inode) -> Result<KVec<u8>> {
        let len = inode.size() as usize;
        if len > PATH_MAX {
            return Err(ENAMETOOLONG);
        }
        let mut target = KVec::from_elem(0, len, GFP_KERNEL)?;
        each_block(inode, 0..inode.size(), |block, part, at| {
            let to = target
                .get_mut(at as usize..)
                .and_then(|rest| rest.get_mut(..part.len()));
            block.copy_out(part.start, to.ok_or(EIO)?)
        })?;
        Ok(target)
    }
}

impl Fill for Rofs {
    fn fill(inode: &Inode, folio: &mut NewFolio<'_>) -> Result {
        each_block(inode, folio.range(), |block, part, at| {
            folio.copy_from(at, block, part)
        })
    }
}

#[vtable]
impl FileOps for Rofs {
    fn read_iter<'a>(iocb: Kiocb<'a, Self>, to: &mut IovIterDest<'_>) -> Io<'a, Self> {
        iocb.filemap_read(to)
    }
}

/// The module has nothing beside its name.
struct Rom;

type Module = FsModule<Rom>;

impl Describe for Rom {
    type Fs = Rofs;
    const NAME: &'static CStr = c"rofs";
    const INODES: &'static CStr = c"rofs_inode";

    fn init(_module: &'static ThisModule) -> Result<(Self, Option<&'static CStr>)> {
        Ok((Self, None))
    }
}

module! {
    type: Module,
    name: "rofs",
    authors: ["The rext4 authors"],
    description: "romfs images, on the file system layer of rext4",
    license: "GPL",
    alias: ["fs-rofs"],
}
