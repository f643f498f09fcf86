// SPDX-License-Identifier: GPL-2.0

//! Orphans: inodes that recovery has to finish after a crash.
//!
//! An inode without links that is still open, or one whose truncate takes several transactions, is
//! on a list that begins in the superblock; each inode's deletion time field holds the number of
//! the next one. After a crash those without links are deleted, the others truncated to their size.
//!
//! Where the filesystem has an orphan file (`Documentation/filesystems/ext4/orphan.rst`) the list
//! may be used all the same, so this module adds to the list only, and empties the file at mount.
//!
//! The list is doubly linked in memory, by number: the inodes on it are not pinned, they leave it
//! when they are evicted. The next number is kept here and not in the inode, since taking an inode
//! off the list changes its predecessor, which may not be in reach. So an inode that is written to
//! its table takes the field from here, under the lock ([`with_next`]), and that predecessor's
//! field is changed in the table under the same lock.
//!
//! Lock order: handle, an inode's fields, the lock of the list, the superblock's.

use super::{
    alloc,
    error::corrupted,
    extent,
    inode,
    io,
    itable::Place,
    primary::{journal_super, read_super, SUPER_CREDITS},
    Inode,
    InodeRef,
    Rext4,
    Sb, //
};
use crate::{
    disk::{
        self,
        features::{COMPAT_ORPHAN_FILE, RO_COMPAT_ORPHAN_PRESENT},
        inode::{HEAD_MAX, ROOT_INO},
        superblock::STATE_ERROR,
        Corrupt, //
    },
    vfs::{
        jbd2::Handle,
        nofs::{new_nofs_mutex, NoFsMutex}, //
    },
};
use kernel::{
    prelude::*,
    rbtree::{RBTree, RBTreeNodeReservation},
    sync::atomic::{Atomic, Relaxed}, //
};
use zerocopy::little_endian::U32;

/// Credits for [`add`] or [`remove`]: the superblock, the inode's table block, its predecessor's.
pub(crate) const ORPHAN_CREDITS: u32 = SUPER_CREDITS + inode::INODE_CREDITS + 1;

/// Byte of the deletion time, or next orphan, in a raw inode.
const DTIME: usize = 0x14;

/// Neighbours on the list; 0 at the ends.
#[derive(Clone, Copy)]
struct Link {
    /// Towards the superblock.
    prev: u32,
    /// What is on disk in the inode.
    next: u32,
}

/// The orphan list of a mounted filesystem.
#[pin_data]
pub(crate) struct Orphans {
    #[pin]
    links: NoFsMutex<RBTree<u32, Link>>,
    /// How many there are, to look at without the lock.
    count: Atomic<u32>,
}

impl Orphans {
    /// An empty list.
    pub(crate) fn new() -> impl PinInit<Self, Error> {
        try_pin_init!(Self {
            links <- new_nofs_mutex!(RBTree::new(), "rext4_orphans"),
            count: Atomic::new(0),
        })
    }

    fn contains(&self, ino: u32) -> bool {
        self.count.load(Relaxed) > 0 && self.links.lock().get(&ino).is_some()
    }
}

/// Memory for one entry of the list. Gotten before the handle of what [`add`] is a part of: in the
/// middle of that, lack of memory would be half an operation.
pub(crate) struct Room(RBTreeNodeReservation<u32, Link>);

impl Room {
    pub(crate) fn new() -> Result<Self> {
        Ok(Self(RBTreeNodeReservation::new(GFP_KERNEL)?))
    }
}

/// Runs `write`, which puts a raw inode into its table, with the number that goes into its deletion
/// time field if it is on the list. That number does not change meanwhile.
///
/// The caller holds the lock of the inode's fields. An inode that is just being added may be
/// written without the number; [`add`] then writes it once more.
pub(crate) fn with_next<R>(fs: &Rext4, ino: u32, write: impl FnOnce(Option<u32>) -> R) -> R {
    if fs.orphans.count.load(Relaxed) > 0 {
        let links = fs.orphans.links.lock();
        if let Some(&Link { next, .. }) = links.get(&ino) {
            return write(Some(next));
        }
    }
    write(None)
}

/// Puts an inode on the list, in the handle that removes its last link or begins to truncate it.
/// Nothing to do if it is on it. Costs [`ORPHAN_CREDITS`].
///
/// The caller holds i_rwsem exclusive, or the inode is new or being evicted.
pub(crate) fn add(handle: &Handle<'_>, inode: &Inode, room: Room) -> Result {
    let (fs, ino) = (inode.fs(), inode.ino());
    {
        let mut links = fs.orphans.links.lock();
        if links.get(&ino).is_some() {
            return Ok(());
        }
        let mut next = 0;
        journal_super(handle, fs, |raw| {
            next = raw.last_orphan.get();
            raw.set_last_orphan(ino);
        })?;
        links.insert(room.0.into_node(ino, Link { prev: 0, next }));
        if let Some(old) = links.get_mut(&next) {
            old.prev = ino;
        }
        fs.orphans.count.add(1, Relaxed);
    }
    inode::journal(handle, inode)
}

/// Takes an inode off the list, in the handle that finishes it. Nothing to do if it is not on it.
/// Its deletion time is 0 then. Costs [`ORPHAN_CREDITS`].
///
/// The caller holds i_rwsem exclusive, or the inode is being evicted.
pub(crate) fn remove(handle: &Handle<'_>, inode: &Inode) -> Result {
    let (sb, fs, ino) = (inode.sb(), inode.fs(), inode.ino());
    if !fs.orphans.contains(ino) {
        return Ok(());
    }
    {
        let mut links = fs.orphans.links.lock();
        let Some(&link) = links.get(&ino) else {
            return Ok(());
        };
        if link.prev == 0 {
            let mut head = ino;
            journal_super(handle, fs, |raw| {
                head = raw.last_orphan.get();
                if head == ino {
                    raw.set_last_orphan(link.next);
                }
            })?;
            if head != ino {
                drop(links);
                return Err(corrupted(
                    sb,
                    Some(inode),
                    fmt!("first orphan, but the superblock has {}", head),
                ));
            }
        } else {
            set_next_on_disk(handle, sb, link.prev, link.next)?;
        }
        if let Some(prev) = links.get_mut(&link.prev) {
            prev.next = link.next;
        }
        if let Some(next) = links.get_mut(&link.next) {
            next.prev = link.prev;
        }
        links.remove(&ino);
        fs.orphans.count.fetch_sub(1, Relaxed);
    }
    inode.node().set_dtime(0);
    inode::journal(handle, inode)
}

/// Changes the next orphan in an inode's place in the table. Under the lock of the list.
fn set_next_on_disk(handle: &Handle<'_>, sb: &Sb, ino: u32, next: u32) -> Result {
    let geo = &sb.data().geo;
    let place = Place::find(sb, ino)?;
    let mut buf = handle.write(place.buffer())?;
    let mut raw = [0u8; HEAD_MAX];
    let raw = place.read(geo, &mut raw)?;
    disk::put(raw, DTIME, &U32::new(next)).map_err(|_| EINVAL)?;
    disk::inode::update_checksum(raw, geo, ino, place.rest(geo)).map_err(|_| EINVAL)?;
    buf.copy_in(place.offset(), raw)?;
    buf.finish()
}

/// Finishes the orphans of the last mount. The filesystem is mounted for writing, nobody uses it
/// yet. Called outside of any handle.
///
/// Files nobody names are no reason to refuse those that somebody does: an orphan that cannot be
/// finished is reported, as corruption is, and left for e2fsck, which the error mark brings. It
/// stays on the list; one that cannot even be read ends the list before it. Where there is such a
/// mark already the bitmaps may lie, so nothing is freed. Fails only for want of memory.
pub(crate) fn process(sb: &Sb) -> Result {
    let fs = sb.data();
    if fs.orphans.count.load(Relaxed) > 0 {
        // It was mounted for writing before, and what is in memory is true.
        return Ok(());
    }
    let marked = fs.has_errors() || read_super(fs, |raw| raw.has_state(STATE_ERROR))?;
    let list = load_list(sb)?;
    if marked {
        if !list.is_empty() {
            pr_warn!("{}: errors before: orphans are left to e2fsck\n", sb.id());
        }
        return Ok(());
    }
    let mut done = Done::default();
    let mut result = Ok(());
    for &ino in list.iter() {
        result = result.and(finish(sb, ino, open(sb, ino), &mut done));
    }
    result = result.and(empty_file(sb, &mut done));
    if done.deleted > 0 || done.truncated > 0 {
        pr_info!(
            "{}: {} orphans deleted, {} truncated\n",
            sb.id(),
            done.deleted,
            done.truncated
        );
    }
    match result {
        Err(e) if e == ENOMEM => Err(e),
        _ => Ok(()),
    }
}

#[derive(Default)]
struct Done {
    deleted: u32,
    truncated: u32,
}

/// An orphan's inode, checked to be one.
fn open(sb: &Sb, ino: u32) -> Result<InodeRef<'_>> {
    check_number(sb, ino)?;
    let inode = inode::iget_orphan(sb, ino).map_err(|e| match e {
        ESTALE => corrupted(sb, None, fmt!("orphan inode {} is empty", ino)),
        e => e,
    })?;
    // Only their truncation takes more than one handle. Directories have it in common with files
    // that there would be nothing to do.
    if inode.nlink() > 0 && !inode.is_file() && !inode.is_dir() {
        return Err(corrupted(
            sb,
            Some(&inode),
            fmt!("an orphan with links that cannot be truncated"),
        ));
    }
    Ok(inode)
}

/// A number that nobody could have put there is corruption.
fn check_number(sb: &Sb, ino: u32) -> Result {
    match sb.data().geo.inode_valid(ino) && ino != ROOT_INO && alloc::inode_in_use(sb, ino)? {
        true => Ok(()),
        false => Err(corrupted(
            sb,
            None,
            fmt!("orphan inode {} is not in use", ino),
        )),
    }
}

/// Reads the list that the superblock begins. Returns its numbers, first the one there. Where it
/// goes on with an inode that cannot be believed it is cut: what is beyond is not known, and must
/// not be, or an inode that becomes an orphan might be on the list twice.
#[inline(never)]
fn load_list(sb: &Sb) -> Result<KVec<u32>> {
    let fs = sb.data();
    let mut list = KVec::new();
    let mut prev = 0;
    let mut ino = read_super(fs, |raw| raw.last_orphan.get())?;
    while ino != 0 {
        let next = match next_on_disk(sb, ino) {
            Ok(next) => next,
            Err(e) if e == ENOMEM => return Err(e),
            Err(e) => {
                cut_list(sb, prev, e);
                break;
            }
        };
        let mut links = fs.orphans.links.lock();
        links.try_create_and_insert(ino, Link { prev, next }, GFP_KERNEL)?;
        fs.orphans.count.add(1, Relaxed);
        drop(links);
        list.push(ino, GFP_KERNEL)?;
        prev = ino;
        ino = next;
    }
    Ok(list)
}

/// What an inode of the list says comes next.
fn next_on_disk(sb: &Sb, ino: u32) -> Result<u32> {
    let fs = sb.data();
    check_number(sb, ino)?;
    if fs.orphans.contains(ino) {
        return Err(corrupted(
            sb,
            None,
            fmt!("orphan list: inode {} comes twice", ino),
        ));
    }
    let place = Place::find(sb, ino)?;
    let mut raw = [0u8; HEAD_MAX];
    let raw = place.read(&fs.geo, &mut raw)?;
    match disk::Inode::decode_checked(raw, &fs.geo, ino, place.rest(&fs.geo)) {
        Ok(inode) => Ok(inode.dtime),
        Err(why) => Err(corrupted(
            sb,
            None,
            fmt!("orphan list: inode {}: {}", ino, why.as_str()),
        )),
    }
}

/// Ends the list with the inode `last` (0: it is empty), since what comes next is of no use because
/// of `why`. If it cannot, nothing can be written and the list stays as it is.
fn cut_list(sb: &Sb, last: u32, why: Error) {
    let fs = sb.data();
    if why != EUCLEAN {
        corrupted(sb, None, fmt!("orphan list: error {}", why.to_errno()));
    }
    let cut = || {
        let handle = fs.start(ORPHAN_CREDITS)?;
        let mut links = fs.orphans.links.lock();
        match links.get_mut(&last) {
            Some(link) => {
                set_next_on_disk(&handle, sb, last, 0)?;
                link.next = 0;
            }
            None => journal_super(&handle, fs, |raw| raw.set_last_orphan(0))?,
        }
        drop(links);
        handle.stop()
    };
    if let Err(e) = cut() {
        pr_err!("{}: orphan list not cut: error {}\n", sb.id(), e.to_errno());
    }
}

/// Deletes or truncates an inode that is on the list, and with that takes it off. `inode` is what
/// [`open`] gave. `Err` only says that it is still there, which has been reported.
fn finish(sb: &Sb, ino: u32, inode: Result<InodeRef<'_>>, done: &mut Done) -> Result {
    let truncated = inode.and_then(|inode| {
        let truncated = inode.nlink() > 0;
        if truncated {
            io::truncate::orphan(&inode)?;
        }
        // The last reference goes: an inode without links is deleted here.
        Ok(truncated)
    });
    let err = match truncated {
        Ok(_) if sb.data().orphans.contains(ino) => EIO,
        Ok(true) => {
            done.truncated += 1;
            return Ok(());
        }
        Ok(false) => {
            done.deleted += 1;
            return Ok(());
        }
        Err(e) => e,
    };
    // Corruption has been reported. A block map is none: it only takes another driver.
    if err == EUCLEAN || err == EOPNOTSUPP || err == ENOMEM {
        pr_err!("{}: orphan inode {} is left to e2fsck\n", sb.id(), ino);
    } else {
        corrupted(sb, None, fmt!("orphan inode {} cannot be finished", ino));
    }
    Err(err)
}

/// Finishes what is in the orphan file: moves one after the other to the list, then does as with
/// those. What is wrong with the file or in it is reported and stays. Not part of the frame below
/// which the list is finished.
#[inline(never)]
fn empty_file(sb: &Sb, done: &mut Done) -> Result {
    let fs = sb.data();
    let geo = &fs.geo;
    if !geo.features.has_compat(COMPAT_ORPHAN_FILE) {
        return Ok(());
    }
    let file = inode::iget(sb, geo.orphan_file_inum)?;
    let blocks = file.size() >> geo.block_bits;
    if !file.is_file() || blocks > disk::orphan::MAX_BLOCKS {
        return Err(corrupted(
            sb,
            Some(&file),
            fmt!("this cannot be the orphan file"),
        ));
    }
    let mut result = Ok(());
    // CAST: At most `MAX_BLOCKS`.
    for lblk in 0..blocks as u32 {
        result = result.and(empty_block(sb, &file, lblk, done));
    }
    result?;
    if read_super(fs, |raw| {
        raw.features().has_ro_compat(RO_COMPAT_ORPHAN_PRESENT)
    })? {
        let handle = fs.start(SUPER_CREDITS)?;
        journal_super(&handle, fs, |raw| {
            raw.set_ro_compat(RO_COMPAT_ORPHAN_PRESENT, false)
        })?;
        handle.stop()?;
    }
    Ok(())
}

/// One block of the orphan file.
#[inline(never)]
fn empty_block(sb: &Sb, file: &Inode, lblk: u32, done: &mut Done) -> Result {
    let fs = sb.data();
    let geo = &fs.geo;
    let seed = file.node().csum_seed();
    let extent = extent::lookup(file, &mut file.node().extents.lock(), lblk, 1)?;
    if extent.state != extent::State::Written {
        return Err(corrupted(
            sb,
            Some(file),
            fmt!("orphan file has a hole at {}", lblk),
        ));
    }
    let bh = sb.bread(extent.pblk)?;
    let mut data = KVec::zeroed(bh.size(), GFP_KERNEL)?;
    bh.copy_out(0, &mut data)?;
    let bad = |why: Corrupt| corrupted(sb, Some(file), fmt!("block {}: {}", lblk, why.as_str()));
    disk::orphan::check_block(&data, geo, seed, extent.pblk).map_err(bad)?;
    let mut result = Ok(());
    for slot in 0..disk::orphan::entries_per_block(geo) {
        let ino = disk::orphan::entry(&data, geo, slot).map_err(bad)?;
        if ino == 0 {
            continue;
        }
        let inode = match open(sb, ino) {
            Ok(inode) => inode,
            Err(e) => {
                result = result.and(Err(e));
                continue;
            }
        };
        disk::orphan::set_entry(&mut data, geo, slot, 0).map_err(bad)?;
        disk::orphan::update_csum(&mut data, geo, seed, extent.pblk).map_err(bad)?;
        let room = Room::new()?;
        let handle = fs.start(ORPHAN_CREDITS + 1)?;
        let mut buf = handle.write(&bh)?;
        buf.copy_in(0, &data)?;
        buf.finish()?;
        let added = add(&handle, &inode, room);
        // The handle ends before the inode may go.
        handle.stop()?;
        added?;
        result = result.and(finish(sb, ino, Ok(inode), done));
    }
    result
}
