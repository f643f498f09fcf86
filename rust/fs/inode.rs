// SPDX-License-Identifier: GPL-2.0

//! Inodes between disk and memory.
//!
//! The raw inode lies in the inode table, which is journaled. In memory the VFS inode holds what
//! the VFS changes, [`InodeInfo`] the rest; [`journal`] brings both into the table. How a new one
//! begins is in `inode/new.rs`, how one is read in `inode/read.rs`, and which have to be finished
//! after a crash in `inode/orphans.rs`.

mod fields;
mod flags_of;
mod grow;
mod new;
mod orphans;
mod project;
mod read;
mod space;

use fields::{from_disk, no_fields, to_disk};
pub(super) use flags_of::{flags_of_type, vfs_flags};
pub(super) use grow::{let_grow, may_grow, may_grow_again};
use new::set_operations;
pub(crate) use new::{init_new, Birth, NewKind};
pub(crate) use orphans::Orphans;
pub(super) use orphans::{with_next, Link};
pub(super) use project::has_projects;
pub(super) use read::iget_by_handle;
pub(crate) use read::{iget, iget_orphan};
pub(super) use space::{attribute_place, load_lists, store_lists, AttrPlace};

use super::{
    credits,
    extent::{ExtentMap, MapKind, Recent},
    io::gate::Gate,
    itable::Iloc,
    primary::{journal_super, read_super},
    Inode,
    InodeRef,
    Rext4,
    Sb, //
};
use crate::{
    disk::{
        self,
        features::RO_COMPAT_LARGE_FILE,
        inode::{flags, GOOD_OLD_SIZE, HEAD_MAX},
        Pblk,
        RawSuper, //
    },
    vfs::{
        atomic::Atomic,
        inode::Time,
        jbd2::{Handle, Journal, Tid},
        nofs::{new_nofs_mutex, NoFsMutex}, //
    },
};
use kernel::{
    prelude::*,
    sync::atomic::ordering, //
};

/// The largest size in bytes that a file has without the feature `large_file`.
const LARGE_SIZE: u64 = i32::MAX as u64;

/// What we keep of an inode beside the VFS inode.
#[pin_data]
pub(crate) struct InodeInfo {
    /// The extent lock and the map below it.
    #[pin]
    pub(crate) extents: NoFsMutex<ExtentMap>,
    /// Number of changes of the map: bumped before each, under the extent lock.
    pub(crate) seq: Atomic<u32>,
    /// What is known of the map without the extent lock.
    pub(super) recent: Recent,
    /// Where direct writes are in flight.
    #[pin]
    pub(crate) gate: Gate,
    /// The lock of the inode's extended attributes ([`xattr`](super::xattr)). Locked inside a
    /// handle, outside `fields`.
    #[pin]
    pub(super) xattrs: NoFsMutex<()>,
    /// Whether it is worth trying to have more fields in the raw inode ([`grow`]). Changed under
    /// the lock of the attributes, or before the inode can be seen.
    may_grow: Atomic<bool>,
    /// The inode as it was last written. Locked inside a handle, outside the extent lock.
    #[pin]
    fields: NoFsMutex<disk::InodeFields>,
    flags: Atomic<u32>,
    projid: Atomic<u32>,
    btime_sec: Atomic<i64>,
    btime_nsec: Atomic<u32>,
    reserved: Atomic<u32>,
    orphan: Atomic<bool>,
    /// One more than the block of the orphan file that the inode has a slot in.
    orphan_block: Atomic<u32>,
    csum_seed: Atomic<u32>,
    disk_size: Atomic<u64>,
    stale_tail: Atomic<bool>,
    zeroed_behind: Atomic<u32>,
    emptied: Atomic<bool>,
    lost_data: Atomic<bool>,
    sync_tid: Atomic<Tid>,
    datasync_tid: Atomic<Tid>,
}

/// What must survive a crash: `fsync` or `fdatasync`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Durable {
    /// The inode, with all that it says.
    Inode,
    /// What its data needs to be read.
    Data,
}

impl InodeInfo {
    /// Of an inode of which nothing is known.
    pub(crate) fn new() -> impl PinInit<Self, Error> {
        try_pin_init!(Self {
            extents <- new_nofs_mutex!(ExtentMap::new(), "rext4_extents"),
            seq: Atomic::new(0),
            recent: Recent::new(),
            gate <- Gate::new(),
            xattrs <- new_nofs_mutex!((), "rext4_xattrs"),
            may_grow: Atomic::new(false),
            fields <- new_nofs_mutex!(no_fields(), "rext4_fields"),
            flags: Atomic::new(0),
            projid: Atomic::new(0),
            btime_sec: Atomic::new(0),
            btime_nsec: Atomic::new(0),
            reserved: Atomic::new(0),
            orphan: Atomic::new(false),
            orphan_block: Atomic::new(0),
            csum_seed: Atomic::new(0),
            disk_size: Atomic::new(0),
            stale_tail: Atomic::new(false),
            zeroed_behind: Atomic::new(0),
            emptied: Atomic::new(false),
            lost_data: Atomic::new(false),
            sync_tid: Atomic::new(Tid::default()),
            datasync_tid: Atomic::new(Tid::default()),
        })
    }

    /// The on-disk flags ([`flags`]).
    pub(crate) fn flags(&self) -> u32 {
        self.flags.load(ordering::Relaxed)
    }

    /// Sets or clears flags; [`journal`] writes them. The caller holds i_rwsem exclusive.
    pub(crate) fn set_flags(&self, mask: u32, on: bool) {
        self.replace_flags(mask, if on { mask } else { 0 });
    }

    /// Gives the flags of `mask` this value, as [`InodeInfo::set_flags`].
    pub(super) fn replace_flags(&self, mask: u32, value: u32) {
        let new = self.flags() & !mask | value & mask;
        self.flags.store(new, ordering::Relaxed);
    }

    /// Seed of the checksums of all blocks that belong to the inode.
    pub(crate) fn csum_seed(&self) -> u32 {
        self.csum_seed.load(ordering::Relaxed)
    }

    /// File size on disk in bytes. It trails i_size: data comes first.
    pub(crate) fn disk_size(&self) -> u64 {
        self.disk_size.load(ordering::Acquire)
    }

    /// Sets the size on disk; [`journal`] writes it. Under the extent lock.
    pub(crate) fn set_disk_size(&self, size: u64) {
        self.disk_size.store(size, ordering::Release);
    }

    /// Whether the disk may hold old bytes behind the end, in its block: truncate zeroes them in
    /// the page cache only. With i_rwsem exclusive.
    pub(crate) fn stale_tail(&self) -> bool {
        self.stale_tail.load(ordering::Relaxed)
    }

    /// Says what [`InodeInfo::stale_tail`] answers.
    pub(crate) fn set_stale_tail(&self, stale: bool) {
        self.stale_tail.store(stale, ordering::Relaxed);
    }

    /// Of direct access: the first block behind the end that the write in progress has not zeroed
    /// yet. With i_rwsem exclusive.
    pub(super) fn zeroed_behind(&self) -> disk::Lblk {
        disk::Lblk::new(self.zeroed_behind.load(ordering::Relaxed))
    }

    /// Says what [`InodeInfo::zeroed_behind`] answers.
    pub(super) fn set_zeroed_behind(&self, next: disk::Lblk) {
        self.zeroed_behind.store(next.get(), ordering::Relaxed);
    }

    /// Data could not be written to blocks that were promised for it, and are not any more. Under
    /// the extent lock.
    pub(crate) fn set_lost_data(&self) {
        self.lost_data.store(true, ordering::Relaxed);
    }

    /// Whether that has happened since the inode was read.
    pub(crate) fn has_lost_data(&self) -> bool {
        self.lost_data.load(ordering::Relaxed)
    }

    /// The file had content and was truncated to nothing: who writes it anew replaces what was
    /// there.
    pub(crate) fn set_emptied(&self) {
        self.emptied.store(true, ordering::Relaxed);
    }

    /// Whether it was, since this was asked last.
    pub(crate) fn take_emptied(&self) -> bool {
        self.emptied.load(ordering::Relaxed) && self.emptied.xchg(false, ordering::Relaxed)
    }

    /// The transaction to wait for so that `what` is durable.
    ///
    /// Of an inode that was read when there was no journal, by a mount that could not write, none
    /// is known. 0 may be one to come, which jbd2 must not be asked for, so it is the latest.
    pub(crate) fn tid(&self, what: Durable, journal: &Journal) -> Tid {
        let known = match what {
            Durable::Inode => self.sync_tid.load(ordering::Acquire),
            Durable::Data => self.datasync_tid.load(ordering::Acquire),
        };
        if known == Tid::default() {
            journal.latest_tid()
        } else {
            known
        }
    }

    /// What reads of the data need has changed in transaction `tid`, outside of the inode.
    pub(crate) fn set_datasync_tid(&self, tid: Tid) {
        self.datasync_tid.store(tid, ordering::Release);
    }

    /// Whether the inode is on the orphan list, as far as it knows: see [`orphan`](super::orphan).
    pub(crate) fn is_orphan(&self) -> bool {
        self.orphan.load(ordering::Relaxed)
    }

    /// Says what [`InodeInfo::is_orphan`] answers. Under the lock of the list.
    pub(crate) fn set_orphan(&self, on: bool) {
        self.orphan.store(on, ordering::Relaxed);
    }

    /// The block of the orphan file that the inode has a slot in, if in one.
    pub(crate) fn orphan_block(&self) -> Option<u32> {
        self.orphan_block.load(ordering::Relaxed).checked_sub(1)
    }

    /// Says what [`InodeInfo::orphan_block`] answers.
    pub(crate) fn set_orphan_block(&self, block: Option<u32>) {
        let block = block.map_or(0, |block| block + 1);
        self.orphan_block.store(block, ordering::Relaxed);
    }

    /// The field that is the deletion time, or the next inode of the orphan list.
    pub(crate) fn set_dtime(&self, dtime: u32) {
        self.fields.lock().dtime = dtime;
    }

    /// The inode has another block of extended attributes now, or none.
    pub(super) fn set_file_acl(&self, block: Option<Pblk>) {
        self.fields.lock().file_acl = block;
    }

    /// The block with the inode's extended attributes, if there is one.
    pub(crate) fn file_acl(&self) -> Option<Pblk> {
        self.fields.lock().file_acl
    }

    /// `i_block` as it was last written. Waits for the log.
    pub(super) fn block(&self) -> [u8; disk::inode::BLOCK_BYTES] {
        self.fields.lock().block
    }

    /// Time of creation, if the disk knows it: old inodes have no room for it, or had none when
    /// they were made. Takes no lock, since [`InodeInfo::fields`] waits for the log.
    pub(crate) fn btime(&self) -> Option<Time> {
        let time = Time {
            sec: self.btime_sec.load(ordering::Relaxed),
            nsec: self.btime_nsec.load(ordering::Relaxed),
        };
        (time != Time::default()).then_some(time)
    }

    /// Before the inode can be seen: it never changes.
    fn set_btime(&self, time: disk::Timestamp) {
        self.btime_sec.store(time.sec, ordering::Relaxed);
        self.btime_nsec.store(time.nsec, ordering::Relaxed);
    }

    /// Blocks reserved and not allocated, for who has not got the extent lock.
    pub(crate) fn reserved_blocks(&self) -> u32 {
        self.reserved.load(ordering::Relaxed)
    }

    /// Says what [`InodeInfo::reserved_blocks`] answers. Under the extent lock.
    pub(crate) fn set_reserved_blocks(&self, blocks: u32) {
        self.reserved.store(blocks, ordering::Relaxed);
    }
}

impl Inode {
    /// Whether it is a file that has a block map, as ext2 and ext3 have them.
    pub(super) fn has_block_map(&self) -> bool {
        self.is_file() && self.info().flags() & flags::EXTENTS == 0
    }

    /// The largest size of the file, in bytes.
    pub(super) fn max_size(&self) -> u64 {
        let geo = &self.fs().geo;
        if self.has_block_map() {
            disk::block_map::max_size(geo)
        } else {
            geo.max_file_size
        }
    }
}

/// Keeps the inode's table block in memory, so that [`journal`] need not read it. That comes when
/// the change is made, and an error then would leave half of it in the transaction: on the disk the
/// tree of the inode would go on with blocks that are free, or a name with one that has it no more.
/// Reading may fail here, before the handle.
pub(in crate::fs) fn hold_iloc(inode: &Inode) -> Result<Iloc> {
    Iloc::locate(inode.sb(), inode.ino())
}

/// Brings the inode into its table block, inside `handle` (which needs [`credits::INODE`]). The
/// caller does not hold the extent lock, and has the table block ([`hold_iloc`]) unless nothing
/// else has changed.
pub(crate) fn journal(handle: &Handle<'_>, inode: &Inode) -> Result {
    journal_at(handle, inode, &hold_iloc(inode)?)
}

/// As [`journal`], for who has what [`hold_iloc`] gave for this inode: a table never moves.
pub(in crate::fs) fn journal_at(handle: &Handle<'_>, inode: &Inode, place: &Iloc) -> Result {
    if inode.info().may_grow.load(ordering::Relaxed) {
        grow::grow_fields(handle, inode);
    }
    store_inode_at(handle, inode, Stored::default(), place)
}

/// How [`store_inode`] finds the raw inode, and what becomes of it beside the fields.
#[derive(Clone, Copy, Default)]
struct Stored<'a> {
    /// It is all zeros and is made from nothing.
    fresh: bool,
    /// The bytes of its attributes, if they change.
    space: Option<&'a [u8]>,
    /// How many bytes its fields have behind the first 128 from now on, if that changes. Where the
    /// attributes begin hangs on it.
    extra: Option<u16>,
}

fn store_inode(handle: &Handle<'_>, inode: &Inode, how: Stored<'_>) -> Result {
    store_inode_at(handle, inode, how, &hold_iloc(inode)?)
}

fn store_inode_at(handle: &Handle<'_>, inode: &Inode, how: Stored<'_>, place: &Iloc) -> Result {
    let Stored {
        fresh,
        space,
        extra,
    } = how;
    let geo = &inode.fs().geo;
    let info = inode.info();
    let mut block = handle.write(place.buffer())?;

    // The lock spans reading the fields and writing the block, so that of two writers the one
    // with the newer values is also the later one.
    let mut fields = info.fields.lock();
    let before = (fields.size, fields.block, fields.blocks);
    collect(inode, &mut fields);
    if let Some(extra) = extra {
        // To the end: what lies there may not be left for more attributes.
        let from = place.offset() + GOOD_OLD_SIZE + usize::from(fields.extra_isize);
        block.zero(from..place.range(geo).end)?;
        fields.extra_isize = extra;
    }
    // Before the head, which may reach over them, and has the checksum over all.
    if let Some(space) = space {
        let from = GOOD_OLD_SIZE + usize::from(fields.extra_isize);
        block.copy_in(place.offset() + from, space)?;
    }
    let mut raw = [0u8; HEAD_MAX];
    let raw = place.read(geo, &mut raw)?;
    // On the orphan list the deletion time is the next orphan, which others may change.
    with_next(inode, |next| {
        if let Some(next) = next {
            fields.dtime = next;
        }
        let (ino, rest) = (inode.ino(), place.rest(geo));
        fields
            .encode(raw, geo, ino, rest)
            .map_err(|why| inode.corrupted(fmt!("cannot be written: {}", why)))?;
        block.copy_in(place.offset(), raw)
    })?;
    block.finish()?;

    let tid = handle.tid();
    info.sync_tid.store(tid, ordering::Release);
    if fresh || before != (fields.size, fields.block, fields.blocks) {
        info.datasync_tid.store(tid, ordering::Release);
    }
    let large = fields.size > LARGE_SIZE;
    drop(fields);
    if large && !geo.features.has_ro_compat(RO_COMPAT_LARGE_FILE) {
        note_large_file(handle, inode.fs())
    } else {
        Ok(())
    }
}

/// The superblock says whether there are files that old drivers cannot handle. With `ext_attr` it
/// is the only feature that comes with use: what rext4 does not find it does not use (`huge_file`,
/// `extra_isize`), or refuses what needs it (`dir_nlink`: `EMLINK`).
#[cold]
fn note_large_file(handle: &Handle<'_>, fs: &Rext4) -> Result {
    let noted = |raw: &RawSuper| raw.features().has_ro_compat(RO_COMPAT_LARGE_FILE);
    if read_super(fs, noted)? {
        return Ok(());
    }
    journal_super(handle, fs, |raw| {
        raw.set_ro_compat(RO_COMPAT_LARGE_FILE, true)
    })
}

/// Collects what the VFS and the extent map know into the on-disk form.
fn collect(inode: &Inode, fields: &mut disk::InodeFields) {
    let info = inode.info();
    fields.mode = inode.mode();
    (fields.uid, fields.gid) = inode.owner();
    // With dir_nlink a directory of too many links says 1.
    fields.links = u16::try_from(inode.nlink()).unwrap_or(1);
    fields.atime = to_disk(inode.atime());
    fields.mtime = to_disk(inode.mtime());
    fields.ctime = to_disk(inode.ctime());
    fields.flags = info.flags();
    if has_projects(inode.fs()) {
        fields.projid = info.projid();
    }
    fields.version = inode.version();
    fields.generation = inode.generation();
    let extents = inode.extents();
    if extents.kind() != MapKind::Nothing {
        fields.block = *extents.root();
    }
    fields.blocks = inode.blocks();
    fields.size = if inode.is_file() {
        info.disk_size()
    } else {
        inode.size()
    };
}

/// The VFS has changed the inode. There is nobody to tell of an error: one of the journal is in the
/// log, and the next change brings the whole inode.
pub(super) fn dirty(inode: &Inode) {
    if let Err(e) = journal_alone(inode) {
        let (id, ino) = (inode.sb().id(), inode.ino());
        pr_debug!("{id}: inode {ino} not journaled: error {}\n", e.to_errno());
    }
}

/// Journals the inode in a handle of its own.
pub(crate) fn journal_alone(inode: &Inode) -> Result {
    let handle = inode.fs().start_nofail(credits::INODE)?;
    journal(&handle, inode)?;
    handle.stop()
}

/// [`journal_alone`] for who may have moved the size on disk and nothing else that is not in the
/// journal: where that has not moved the inode is not written once more.
pub(crate) fn journal_size(inode: &Inode) -> Result {
    let info = inode.info();
    let written = info.fields.lock().size;
    if written == info.disk_size() {
        return Ok(());
    }
    journal_alone(inode)
}
