// SPDX-License-Identifier: GPL-2.0

//! What the last mount left: orphans that a crash kept from being finished.

use crate::{
    disk::{
        self,
        features::RO_COMPAT_ORPHAN_PRESENT,
        inode::HEAD_MAX,
        superblock::STATE_ERROR,
        Corrupt,
        Ino,
        Lblk,
        RawSuper, //
    },
    fs::{
        alloc,
        credits,
        extent,
        inode::{self, Link},
        io,
        itable::Iloc,
        orphan::{add, open_slots, Before, Room},
        primary::{journal_super, read_super},
        Inode,
        InodeRef,
        Sb, //
    },
};
use kernel::{prelude::*, rbtree::RBTree, sync::atomic::Relaxed};

/// Finishes the orphans of the last mount. The filesystem is mounted for writing, nobody uses it
/// yet. Called outside of any handle.
///
/// Files nobody names are no reason to refuse those that somebody does: an orphan that cannot be
/// finished is reported, as corruption is, and left for e2fsck, which the error mark brings. It
/// stays on the list; one that cannot even be read ends the list before it. Where there is such a
/// mark already the bitmaps may lie, so nothing is freed. Fails only for want of memory, and when
/// who mounts is being killed.
pub(crate) fn process(sb: &Sb) -> Result {
    let fs = sb.data();
    let again = fs.orphans.cut_short.load(Relaxed);
    if !again && (fs.orphans.count.load(Relaxed) > 0 || fs.slots.are_used()) {
        // It was mounted for writing before, and what is in memory is true.
        return Ok(());
    }
    let marked = fs.has_errors() || read_super(fs, |raw| raw.has_state(STATE_ERROR))?;
    let list = if fs.orphans.count.load(Relaxed) > 0 {
        known_list(sb)?
    } else {
        load_list(sb).inspect_err(|_| forget_list(sb))?
    };
    fs.orphans.strays.store(!list.is_empty(), Relaxed);
    if marked {
        if !list.is_empty() {
            pr_warn!("{}: errors before: orphans are left to e2fsck\n", sb.id());
        }
        return Ok(());
    }
    let mut done = Done::default();
    let result = finish_all(sb, &list, &mut done);
    let left = fs.orphans.count.load(Relaxed) > 0;
    fs.orphans.strays.store(left, Relaxed);
    if done.deleted > 0 || done.truncated > 0 {
        pr_info!(
            "{}: {} orphans deleted, {} truncated\n",
            sb.id(),
            done.deleted,
            done.truncated
        );
    }
    let cut_short = result.err().filter(|e| passes(*e));
    fs.orphans.cut_short.store(cut_short.is_some(), Relaxed);
    cut_short.map_or(Ok(()), Err)
}

/// Whether the orphans in memory are those of the disk, which somebody else may have written since
/// the mount is read-only: e2fsck frees them, and who has one of them in memory would free it once
/// more. A list is forgotten of which nobody is in memory, and [`process`] reads what there is now.
pub(crate) fn is_known(sb: &Sb) -> Result<bool> {
    let fs = sb.data();
    if !fs.slots.are_on_disk()? {
        return Ok(false);
    }
    let list = known_list(sb)?;
    if list.is_empty() || read_super(fs, RawSuper::last_orphan)? == fs.orphans.first() {
        return Ok(true);
    }
    let in_memory = |ino: &Ino| sb.find_inode((*ino).into()).is_some();
    if fs.slots.are_used() || list.iter().any(in_memory) {
        return Ok(false);
    }
    forget_list(sb);
    Ok(true)
}

/// Whether the error says nothing of the disk: no memory, or who mounts is being killed. The mount
/// fails, and the next one does it.
fn passes(e: Error) -> bool {
    e == ENOMEM || e == EINTR || e == ERESTARTSYS
}

/// The results of two orphans, the second of which may be the end: then it is an error that passes,
/// which one of the disk before it does not hide.
fn both(first: Result, second: Result) -> Result<Result> {
    match second {
        Err(e) if passes(e) => Err(e),
        _ => Ok(first.and(second)),
    }
}

#[derive(Default)]
struct Done {
    deleted: u32,
    truncated: u32,
}

/// Those of the list and those of the orphan file. Who is being killed does not wait for them all.
fn finish_all(sb: &Sb, list: &[Ino], done: &mut Done) -> Result {
    let mut result = Ok(());
    for &ino in list {
        sb.go_on()?;
        result = both(result, finish_orphan(sb, ino, open(sb, ino), done))?;
    }
    both(result, empty_file(sb, done))?
}

/// An orphan's inode, checked to be one.
fn open(sb: &Sb, ino: Ino) -> Result<InodeRef<'_>> {
    check_number(sb, ino)?;
    let inode = inode::iget_orphan(sb, ino).map_err(|e| match e {
        ESTALE => sb.corrupted(fmt!("orphan inode {} is empty", ino)),
        e => e,
    })?;
    // Only their truncation takes more than one handle. Directories have it in common with files
    // that there would be nothing to do.
    if inode.nlink() > 0 && !inode.is_file() && !inode.is_dir() {
        return Err(inode.corrupted(fmt!("an orphan with links that cannot be truncated")));
    }
    Ok(inode)
}

/// A number that nobody could have put there is corruption.
fn check_number(sb: &Sb, ino: Ino) -> Result {
    if sb.data().geo.inode_valid(ino) && ino != Ino::ROOT && alloc::inode_in_use(sb, ino)? {
        Ok(())
    } else {
        Err(sb.corrupted(fmt!("orphan inode {} is not in use", ino)))
    }
}

/// Reads the list that the superblock begins. Returns its numbers, first the one there. Where it
/// goes on with an inode that cannot be believed it is cut: what is beyond is not known, and must
/// not be, or an inode that becomes an orphan might be on the list twice.
#[inline(never)]
fn load_list(sb: &Sb) -> Result<KVVec<Ino>> {
    let fs = sb.data();
    let mut list = KVVec::new();
    let mut prev = None;
    let mut at = read_super(fs, RawSuper::last_orphan)?;
    while let Some(ino) = at {
        sb.go_on()?;
        let next = match next_on_disk(sb, ino) {
            Ok(next) => next,
            Err(e) if e == ENOMEM => return Err(e),
            Err(e) => {
                cut_list(sb, prev, ino, e);
                break;
            }
        };
        let mut links = fs.orphans.links.lock();
        links.try_create_and_insert(ino, Link { prev, next }, GFP_KERNEL)?;
        fs.orphans.count.add(1, Relaxed);
        drop(links);
        list.push(ino, GFP_KERNEL)?;
        prev = Some(ino);
        at = next;
    }
    Ok(list)
}

/// What is in memory of the list: after a remount that was killed over it, what is left.
#[cold]
fn known_list(sb: &Sb) -> Result<KVVec<Ino>> {
    let mut list = KVVec::new();
    for (&ino, _) in sb.data().orphans.links.lock().iter() {
        list.push(ino, GFP_KERNEL)?;
    }
    Ok(list)
}

/// Takes back what [`load_list`] has put down: of a list that it could not read to the end, half of
/// which would pass for all of it when the mount is made a writing one again, or of one that is not
/// the disk's any more.
#[cold]
fn forget_list(sb: &Sb) {
    let orphans = &sb.data().orphans;
    let mut links = orphans.links.lock();
    *links = RBTree::new();
    orphans.count.store(0, Relaxed);
    orphans.cut_short.store(false, Relaxed);
}

/// What an inode of the list says comes next.
#[inline(never)]
fn next_on_disk(sb: &Sb, ino: Ino) -> Result<Option<Ino>> {
    let fs = sb.data();
    check_number(sb, ino)?;
    if fs.orphans.contains(ino) {
        return Err(sb.corrupted(fmt!("orphan list: inode {} comes twice", ino)));
    }
    let place = Iloc::locate(sb, ino)?;
    let mut raw = [0u8; HEAD_MAX];
    let raw = place.read(&fs.geo, &mut raw)?;
    match disk::InodeFields::decode_checked(raw, &fs.geo, ino, place.rest(&fs.geo)) {
        Ok(inode) => Ok(Ino::from_disk(inode.dtime)),
        Err(why) => Err(sb.corrupted(fmt!("orphan list: inode {}: {}", ino, why.as_str()))),
    }
}

/// Ends the list with the inode `last` (none: it is empty), since what comes next, `ino`, is of no
/// use because of `why`. If it cannot, nothing can be written and the list stays as it is.
fn cut_list(sb: &Sb, last: Option<Ino>, ino: Ino, why: Error) {
    let fs = sb.data();
    if why != EUCLEAN {
        sb.corrupted(fmt!("orphan list: error {}", why.to_errno()));
    }
    let cut = || {
        let handle = fs.start(credits::ORPHAN)?;
        let mut before = Before::access(&handle, sb, last)?;
        let mut links = fs.orphans.links.lock();
        before.set_next(sb, ino, None)?;
        if let Some(link) = last.and_then(|last| links.get_mut(&last)) {
            link.next = None;
        }
        drop(links);
        before.finish()?;
        handle.stop()
    };
    if let Err(e) = cut() {
        pr_err!("{}: orphan list not cut: error {}\n", sb.id(), e.to_errno());
    }
}

/// Deletes or truncates an inode that is on the list, and with that takes it off. `inode` is what
/// [`open`] gave. `Err` only says that it is still there, which has been reported.
fn finish_orphan(sb: &Sb, ino: Ino, inode: Result<InodeRef<'_>>, done: &mut Done) -> Result {
    let truncated = inode.and_then(|inode| {
        let truncated = inode.nlink() > 0;
        if truncated {
            // Where it ends early it is read again: somebody else may finish it.
            io::truncate::orphan(&inode).inspect_err(|_| inode.dont_cache())?;
        }
        // The last reference goes: an inode without links is deleted here.
        Ok(truncated)
    });
    let listed = || sb.data().orphans.contains(ino);
    let err = match truncated {
        // Who came by a file handle meanwhile keeps it, and lets it go as any orphan.
        Ok(false) if listed() && sb.find_inode(ino.into()).is_some() => return Ok(()),
        Ok(_) if listed() => EIO,
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
    if passes(err) {
        return Err(err);
    }
    // Corruption has been reported.
    if err == EUCLEAN {
        pr_err!("{}: orphan inode {} is left to e2fsck\n", sb.id(), ino);
    } else {
        sb.corrupted(fmt!("orphan inode {} cannot be finished", ino));
    }
    Err(err)
}

/// Finishes what is in the orphan file, and opens it: moves one after the other to the list, then
/// does as with those. What is wrong with the file or in it is reported and stays. Not part of the
/// frame below which the list is finished.
#[inline(never)]
fn empty_file(sb: &Sb, done: &mut Done) -> Result {
    let fs = sb.data();
    let geo = &fs.geo;
    let Some(number) = geo.orphan_file_inum.filter(|_| !fs.slots.is_open()) else {
        return Ok(());
    };
    let file = inode::iget(sb, number).map_err(|e| unread(sb, e))?;
    let blocks = file.size() >> geo.block_bits;
    if !file.is_file() || blocks > disk::orphan::MAX_BLOCKS {
        return Err(file.corrupted(fmt!("this cannot be the orphan file")));
    }
    let mut result = Ok(());
    // CAST: At most `MAX_BLOCKS`.
    for lblk in (0..blocks as u32).map(Lblk::new) {
        let emptied = empty_block(sb, &file, lblk, done);
        result = both(result, emptied.unwrap_or_else(|e| Err(unread(sb, e))))?;
    }
    result?;
    // CAST: As above.
    if let Err(e) = open_slots(&file, blocks as u32) {
        let id = sb.id();
        pr_warn!("{}: orphan file not used: error {}\n", id, e.to_errno());
    }
    let present = fs.slots.is_open();
    let was = read_super(fs, |raw| {
        raw.features().has_ro_compat(RO_COMPAT_ORPHAN_PRESENT)
    })?;
    if was != present {
        let handle = fs.start(credits::SUPER)?;
        journal_super(&handle, fs, |raw| {
            raw.set_ro_compat(RO_COMPAT_ORPHAN_PRESENT, present)
        })?;
        handle.stop()?;
    }
    Ok(())
}

/// The orphan file, or a part of it, could not be read or emptied, which is reported unless it has
/// been.
#[cold]
fn unread(sb: &Sb, why: Error) -> Error {
    if why == EUCLEAN || why == EROFS || passes(why) {
        return why;
    }
    sb.corrupted(fmt!("orphan file: error {}", why.to_errno()))
}

/// One block of the orphan file. The result inside is that of the orphans, whose errors have been
/// reported.
#[inline(never)]
fn empty_block(sb: &Sb, file: &Inode, lblk: Lblk, done: &mut Done) -> Result<Result> {
    let fs = sb.data();
    let geo = &fs.geo;
    let seed = file.info().csum_seed();
    let extent = file.extents().lookup(lblk.blocks(1))?;
    if extent.state != extent::State::Written {
        return Err(file.corrupted(fmt!("orphan file has a hole at {}", lblk)));
    }
    let bh = sb.bread(extent.pblk.get())?;
    let mut data = KVec::zeroed(bh.size(), GFP_KERNEL)?;
    bh.copy_out(0, &mut data)?;
    let bad = |why: Corrupt| file.corrupted(fmt!("block {}: {}", lblk, why.as_str()));
    disk::orphan::check_block(&data, geo, seed, extent.pblk).map_err(bad)?;
    let mut result = Ok(());
    for slot in 0..disk::orphan::entries_per_block(geo) {
        let Some(ino) = disk::orphan::entry(&data, geo, slot).map_err(bad)? else {
            continue;
        };
        sb.go_on()?;
        // All that may fail is first: who has the inode and lets it go has it deleted, and the slot
        // would name one that is free.
        let room = Room::new()?;
        let table = check_number(sb, ino).and_then(|()| Iloc::locate(sb, ino));
        let opened = table.and_then(|table| Ok((table, open(sb, ino)?)));
        let (_table, inode) = match opened {
            Ok(opened) => opened,
            Err(e) => {
                result = both(result, finish_orphan(sb, ino, Err(e), done))?;
                continue;
            }
        };
        disk::orphan::set_entry(&mut data, geo, slot, None).map_err(bad)?;
        disk::orphan::update_csum(&mut data, geo, seed, extent.pblk).map_err(bad)?;
        let handle = fs.start_nofail(credits::ORPHAN_SLOT)?;
        let mut buf = handle.write(&bh)?;
        buf.copy_in(0, &data)?;
        buf.finish()?;
        let added = add(&handle, &inode, room).and_then(|()| inode::journal(&handle, &inode));
        // The handle ends before the inode may go.
        handle.stop()?;
        added?;
        result = both(result, finish_orphan(sb, ino, Ok(inode), done))?;
    }
    Ok(result)
}
