// SPDX-License-Identifier: GPL-2.0

//! Mount, remount, sync and unmount.
//!
//! A read-only mount never writes, with one exception that the other file systems make too: a
//! journal that holds transactions is replayed, unless the device is read-only or `norecovery` is
//! given. While a mount may write, the super block says that the journal needs recovery.

use super::{
    alloc,
    error::corrupted,
    extent,
    inode,
    options::Options,
    orphan,
    primary::{write_super, Primary},
    Inode,
    InodeRef,
    Rext4,
    Sb, //
};
use crate::{
    disk::{
        features,
        inode::ROOT_INO,
        superblock::{Geometry, RawSuper, STATE_ERROR, SUPER_OFFSET},
    },
    vfs::{
        jbd2::{Features, JournalSlot},
        super_block::{NewSuper, StatFs},
    },
};
use kernel::{
    error::code::*,
    new_mutex,
    prelude::*,
    sync::atomic::{ordering, Atomic}, //
};

/// Reads and checks the super block: the first half of mount.
pub(super) fn load(sb: &NewSuper<'_, Rext4>, opts: &Options) -> Result<impl PinInit<Rext4, Error>> {
    let fail = |why: &dyn kernel::fmt::Display, err| {
        pr_err!("{}: cannot mount: {}\n", sb.id(), why);
        err
    };
    let bytes = sb.device_bytes();
    if bytes < SUPER_OFFSET + 1024 {
        return Err(fail(&"the device is too small for a super block", EINVAL));
    }
    sb.set_blocksize(1024)
        .map_err(|e| fail(&"the device's blocks are larger than 1 KiB", e))?;
    let raw: KBox<RawSuper> = sb.bread(SUPER_OFFSET / 1024)?.read_boxed(0)?;
    let geo = Geometry::parse(&raw, bytes).map_err(|why| fail(&why, EINVAL.or_corrupt(&why)))?;
    if !geo.features.has_incompat(features::INCOMPAT_EXTENTS) {
        return Err(fail(&"no extents feature: this is ext2 or ext3", EINVAL));
    }
    if !sb.is_read_only() {
        if let Some(name) = geo.features.first_unknown_ro_compat() {
            pr_err!(
                "{}: feature {} can only be mounted read-only\n",
                sb.id(),
                name
            );
            return Err(EROFS);
        }
        if geo.journal_inum == 0 {
            return Err(fail(&"no journal: mount read-only", EROFS));
        }
        if sb.device_is_read_only() {
            return Err(fail(&"the device is read-only", EROFS));
        }
        if opts.noload {
            return Err(fail(&"norecovery needs a read-only mount", EROFS));
        }
    }
    sb.set_blocksize(geo.block_size)?;
    let primary = Primary::new(sb, &geo)?;
    let extra = geo.want_extra_isize >= 8;
    let max_time = if extra {
        (3i64 << 32) + i64::from(i32::MAX)
    } else {
        i32::MAX.into()
    };
    sb.set_params(
        0xef53,
        geo.max_file_size as i64,
        (
            i32::MIN.into(),
            max_time,
            if extra { 1 } else { 1_000_000_000 },
        ),
        // The limit is not the same for all directories (dir_nlink): namei keeps it.
        0,
    );
    sb.set_uuid(&geo.uuid);
    let options = opts.clone();
    let groups = alloc::Groups::load(sb, &geo, &raw)?;
    Ok(try_pin_init!(Rext4 {
        geo,
        primary <- new_mutex!(primary, "rext4_super"),
        journal: JournalSlot::new(),
        groups <- groups,
        orphans <- orphan::Orphans::new(),
        dio_gate: Atomic::new(options.dio_gate),
        options <- new_mutex!(options, "rext4_options"),
        writing: Atomic::new(false),
        errored: Atomic::new(0),
    }? Error))
}

/// Which error a bad super block means: not ours, or damaged.
trait OrCorrupt {
    fn or_corrupt(self, why: &crate::disk::superblock::SbError) -> Error;
}

impl OrCorrupt for Error {
    fn or_corrupt(self, why: &crate::disk::superblock::SbError) -> Error {
        use crate::disk::superblock::SbError;
        match why {
            SbError::Checksum | SbError::Geometry(_) => EUCLEAN,
            _ => self,
        }
    }
}

fn now() -> u64 {
    crate::vfs::inode::now().sec as u64
}

/// Second half of mount.
pub(super) fn start(sb: &Sb) -> Result<InodeRef<'_>> {
    let fs = sb.data();
    let mut replayed = false;
    if fs.geo.journal_inum != 0 && !fs.options.lock().noload {
        replayed = open_journal(sb)?;
    } else if fs.geo.features.has_incompat(features::INCOMPAT_RECOVER) {
        pr_warn!("{}: the journal is not replayed (norecovery)\n", sb.id());
    }
    fs.groups.init_counts(sb)?;
    let root = own_inode(sb, ROOT_INO, "root")?;
    if !root.is_dir() {
        return Err(corrupted(sb, Some(&root), fmt!("the root is no directory")));
    }
    if !sb.is_read_only() {
        begin_writing(sb)?;
    } else if replayed {
        // Replay is the one write of a read-only mount; this is its end.
        write_super(fs, |raw| {
            raw.set_incompat(features::INCOMPAT_RECOVER, false)
        })?;
    }
    pr_info!(
        "{}: mounted {}{}\n",
        sb.id(),
        if sb.is_read_only() {
            "read-only"
        } else {
            "read-write"
        },
        if replayed { ", journal replayed" } else { "" },
    );
    Ok(root)
}

/// An inode that every file system has; without it nothing can be mounted.
fn own_inode<'a>(sb: &'a Sb, ino: u32, what: &'static str) -> Result<InodeRef<'a>> {
    inode::iget(sb, ino).map_err(|e| match e == ESTALE {
        true => corrupted(sb, None, fmt!("inode {}: the {} is not in use", ino, what)),
        false => {
            pr_err!("{}: cannot read the {}, inode {}\n", sb.id(), what, ino);
            e
        }
    })
}

/// Notes the journal's blocks, so that no other file gets at them. A hole is jbd2's to find.
fn protect_journal(sb: &Sb, file: &Inode) -> Result {
    let bits = sb.data().geo.block_bits;
    let mut all = KVVec::new();
    let (mut at, end) = (0u32, u32::try_from(file.size() >> bits).unwrap_or(u32::MAX));
    while at < end {
        let mut map = file.node().extents.lock();
        let found = extent::lookup(file, &mut map, at, end - at)?;
        if found.state == extent::State::Written {
            all.push((found.pblk, found.len), GFP_KERNEL)?;
        }
        at = at.saturating_add(found.len);
    }
    alloc::set_journal(sb, &all)
}

/// Opens the journal and replays it. A read-only mount keeps it only if there was something to
/// replay. Returns whether there was.
fn open_journal(sb: &Sb) -> Result<bool> {
    let fs = sb.data();
    let file = own_inode(sb, fs.geo.journal_inum, "journal")?;
    if !file.is_file() || file.nlink() == 0 {
        return Err(corrupted(sb, Some(&file), fmt!("the journal is no file")));
    }
    protect_journal(sb, &file)?;
    let journal = sb.open_journal(file)?;
    let recover =
        journal.needs_recovery() || fs.geo.features.has_incompat(features::INCOMPAT_RECOVER);
    if recover && journal.needs_recovery() {
        if journal.has_fast_commits() {
            pr_err!(
                "{}: the journal holds fast commits; mount it with ext4 once\n",
                sb.id()
            );
            return Err(EOPNOTSUPP);
        }
        if sb.device_is_read_only() {
            pr_err!(
                "{}: the journal needs replay, but the device is read-only\n",
                sb.id()
            );
            return Err(EROFS);
        }
    } else if sb.is_read_only() {
        return Ok(false);
    }
    let needed = journal.needs_recovery();
    let error = journal.errno();
    if let Some(e) = error {
        pr_warn!(
            "{}: the journal was aborted before with error {}\n",
            sb.id(),
            e.to_errno()
        );
    }
    let options = fs.options.lock().clone();
    journal.load(|journal| {
        if !sb.is_read_only() {
            journal.set_features(Features {
                wide: fs.geo.features.has_incompat(features::INCOMPAT_64BIT),
                checksums: fs.geo.has_metadata_csum,
            })?;
        }
        if error.is_some() {
            fs.errored.store(1, ordering::Relaxed);
            journal.clear_err()?;
        }
        journal.set_barrier(options.barrier);
        if options.commit != 0 {
            journal.set_commit_interval(options.commit);
        }
        Ok(())
    })?;
    Ok(needed)
}

/// From here on the disk may change: says so in the super block, then finishes the orphans.
fn begin_writing(sb: &Sb) -> Result {
    let fs = sb.data();
    write_super(fs, |raw| {
        raw.set_incompat(features::INCOMPAT_RECOVER, true);
        raw.set_mounted(now());
    })?;
    fs.writing.store(true, ordering::Relaxed);
    orphan::process(sb)
}

/// Everything is written: says in the super block that no recovery is needed.
fn end_writing(fs: &Rext4) -> Result {
    let errored = fs.has_errors();
    write_super(fs, |raw| {
        alloc::update_super_counts(fs, raw);
        raw.set_incompat(features::INCOMPAT_RECOVER, false);
        raw.set_wtime(now());
        if errored {
            raw.update_state(STATE_ERROR, 0);
        }
    })?;
    fs.writing.store(false, ordering::Relaxed);
    Ok(())
}

/// The end of the mount, or of a failed start. `journal` is how the journal's closing went: an
/// error also if it was aborted.
pub(super) fn stop(sb: &Sb, journal: Result) {
    let fs = sb.data();
    if !fs.writing.load(ordering::Relaxed) {
        return;
    }
    if journal.is_err() {
        // What is in the log is the truth. Leave it to recovery, but tell e2fsck.
        if fs.has_errors() && !sb.device_is_read_only() {
            let _ = write_super(fs, |raw| raw.update_state(STATE_ERROR, 0));
        }
        pr_warn!(
            "{}: unmounted after errors; the journal needs recovery\n",
            sb.id()
        );
        return;
    }
    if let Err(e) = end_writing(fs) {
        pr_err!(
            "{}: super block not written: error {}\n",
            sb.id(),
            e.to_errno()
        );
    }
}

/// Remount.
pub(super) fn reconfigure(sb: &Sb, opts: Options, read_only: bool) -> Result {
    let fs = sb.data();
    if opts.noload && !read_only {
        pr_err!("{}: norecovery needs a read-only mount\n", sb.id());
        return Err(EINVAL);
    }
    if read_only && !sb.is_read_only() {
        if let Some(journal) = fs.journal() {
            let locked = journal.lock_updates()?;
            locked.flush()?;
            drop(locked);
            end_writing(fs)?;
        }
    } else if !read_only && sb.is_read_only() {
        if fs.journal().is_some_and(|j| j.is_aborted()) || fs.has_errors() {
            pr_err!(
                "{}: not remounted read-write after errors; run e2fsck\n",
                sb.id()
            );
            return Err(EROFS);
        }
        if let Some(name) = fs.geo.features.first_unknown_ro_compat() {
            pr_err!(
                "{}: feature {} can only be mounted read-only\n",
                sb.id(),
                name
            );
            return Err(EROFS);
        }
        if fs.geo.journal_inum == 0 || sb.device_is_read_only() {
            return Err(EROFS);
        }
        sb.set_read_only(false);
        let result = match fs.journal() {
            Some(_) => Ok(()),
            None => open_journal(sb).map(|_| ()),
        };
        if let Err(e) = result.and_then(|()| begin_writing(sb)) {
            sb.set_read_only(true);
            return Err(e);
        }
    }
    if let Some(journal) = fs.journal() {
        journal.set_barrier(opts.barrier);
        if opts.commit != 0 {
            journal.set_commit_interval(opts.commit);
        }
    }
    // Writes in flight open what they have closed, and who adds pages looks in any case.
    fs.dio_gate.store(opts.dio_gate, ordering::Relaxed);
    *fs.options.lock() = opts;
    Ok(())
}

/// The options in force.
pub(super) fn options(fs: &Rext4) -> Options {
    fs.options.lock().clone()
}

/// `sync(2)`: commits what is running; with `wait`, until it is durable.
pub(super) fn sync(sb: &Sb, wait: bool) -> Result {
    let fs = sb.data();
    let Some(journal) = fs.journal() else {
        return Ok(());
    };
    if sb.is_read_only() {
        return Ok(());
    }
    let tid = journal.latest_tid();
    let barrier = wait && !journal.will_send_data_barrier(tid);
    match wait {
        true => journal.force_commit()?,
        false => drop(journal.start_commit()),
    }
    if barrier && fs.options.lock().barrier {
        sb.issue_flush()?;
    }
    Ok(())
}

/// Empties the log into the file system and says that it is clean. Writers are stopped.
pub(super) fn freeze(sb: &Sb) -> Result {
    let fs = sb.data();
    let Some(journal) = fs.journal() else {
        return Ok(());
    };
    if sb.is_read_only() {
        return Ok(());
    }
    // Unlocked again before the return: user space thaws, maybe from another task.
    let locked = journal.lock_updates()?;
    locked.flush()?;
    drop(locked);
    end_writing(fs)
}

/// Ends [`freeze`].
pub(super) fn unfreeze(sb: &Sb) -> Result {
    if sb.is_read_only() || sb.data().journal().is_none() {
        return Ok(());
    }
    write_super(sb.data(), |raw| {
        raw.set_incompat(features::INCOMPAT_RECOVER, true)
    })?;
    sb.data().writing.store(true, ordering::Relaxed);
    Ok(())
}

/// `statfs(2)`.
pub(super) fn statfs(sb: &Sb) -> Result<StatFs> {
    let fs = sb.data();
    let count = alloc::count_free(sb);
    let word = |from: usize| {
        fs.geo
            .uuid
            .iter()
            .skip(from)
            .take(8)
            .rev()
            .fold(0u64, |n, b| n << 8 | u64::from(*b))
    };
    Ok(StatFs {
        magic: 0xef53,
        block_size: fs.geo.block_size.into(),
        blocks: fs.geo.blocks_count.saturating_sub(count.overhead),
        blocks_free: count.blocks_free,
        blocks_available: count.blocks_available,
        files: fs.geo.inodes_count.into(),
        files_free: count.files_free,
        name_len: 255,
        fsid: word(0) ^ word(8),
    })
}
