// SPDX-License-Identifier: GPL-2.0

//! Mount, remount, sync and unmount.
//!
//! A read-only mount writes only what the last mount has left to be finished, as those of the other
//! file systems do: a journal that holds transactions is replayed, and orphans are freed. Not if
//! the device is read-only or `norecovery` is given. While a mount may write, the super block says
//! that the journal needs recovery.

mod checkpoint;
mod crypt;
mod load;
mod protect;
mod refuse;
mod shown;
mod shutdown;
mod writing;

pub(super) use checkpoint::{can_empty_log, empty_live_log};
pub(super) use load::load;
pub(super) use shown::{options, show_options};
pub(super) use shutdown::shut_down;

use load::{check_kept, check_rw_mount};
use refuse::{refuse, unsaid};
use writing::{
    begin_writing,
    empty_log,
    end_writing,
    finish_read_only,
    has_unfinished,
    leave_to_recovery,
    reopen,
    stop_writing, //
};

use super::{
    about::now,
    access::Access,
    alloc,
    error::journal_error,
    inode,
    marks,
    options::Options,
    primary::{read_super, write_super},
    recover,
    resize,
    InodeRef,
    Rext4,
    Sb, //
};
use crate::{
    disk::{
        features::{self, Features},
        superblock::{ErrorMark, STATE_ERROR}, //
        Ino,
    },
    vfs::{
        fs_context::MountLog,
        jbd2::JournalFeatures,
        super_block::Remount, //
    },
};
use core::mem;
use kernel::{error::code::*, prelude::*, sync::atomic::Relaxed};

/// Second half of mount.
pub(super) fn start<'a>(sb: &'a Sb, log: &MountLog<'_>) -> Result<InodeRef<'a>> {
    bring_up(sb, log).inspect_err(|&e| unsaid(log, e))
}

fn bring_up<'a>(sb: &'a Sb, log: &MountLog<'_>) -> Result<InodeRef<'a>> {
    let fs = sb.data();
    crypt::begin_dummy(sb)?;
    let mut replayed = false;
    if fs.geo.journal_inum.is_some() && !fs.options.lock().noload {
        let options = fs.options.lock().clone();
        replayed = open_journal(sb, log, &options, sb.is_read_only())?;
        resize::after_replay(sb)?;
    } else if fs.geo.features.has_incompat(features::INCOMPAT_RECOVER) {
        if fs.geo.journal_dev != 0 && !fs.options.lock().noload {
            let why = fmt!("the external journal needs replay: mount with ext4, or norecovery");
            return Err(refuse(sb.id(), log, why, EROFS));
        }
        pr_warn!("{}: the journal is not replayed (norecovery)\n", sb.id());
    }
    fs.groups.init_counts(sb)?;
    let root = own_inode(sb, Ino::ROOT, "root")?;
    if !root.is_dir() {
        return Err(root.corrupted(fmt!("the root is no directory")));
    }
    advise(sb)?;
    if !sb.is_read_only() {
        begin_writing(sb)?;
    } else if let Some(journal) = fs.journal() {
        finish_read_only(sb, journal)?;
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
fn own_inode<'a>(sb: &'a Sb, ino: Ino, what: &'static str) -> Result<InodeRef<'a>> {
    inode::iget(sb, ino).map_err(|e| {
        if e == ESTALE {
            sb.corrupted(fmt!("inode {}: the {} is not in use", ino, what))
        } else {
            pr_err!("{}: cannot read the {}, inode {}\n", sb.id(), what, ino);
            e
        }
    })
}

/// Opens the journal and replays it. A read-only mount keeps it only if there was something to
/// replay, or there are orphans. Returns whether there was. On its own for the sake of the stack.
#[inline(never)]
fn open_journal(sb: &Sb, log: &MountLog<'_>, options: &Options, read_only: bool) -> Result<bool> {
    let fs = sb.data();
    let file = own_inode(sb, fs.geo.journal_inum.ok_or(EINVAL)?, "journal")?;
    if !file.is_file() || file.nlink() == 0 || file.is_encrypted() {
        return Err(file.corrupted(fmt!("the journal is no file, or an encrypted one")));
    }
    protect::protect_journal(sb, &file)?;
    let journal = fs.journal.open(file)?;
    journal.set_barrier(options.barrier());
    // A log that the super block does not speak of is older than the metadata (debugfs' way to be
    // rid of one that is bad).
    let wanted = fs.geo.features.has_incompat(features::INCOMPAT_RECOVER);
    let stale = journal.needs_recovery() && !wanted;
    let needed = journal.needs_recovery() && wanted;
    if needed && journal.has_fast_commits() {
        let why = fmt!("the journal holds fast commits; mount it with ext4 once");
        return Err(refuse(sb.id(), log, why, EOPNOTSUPP));
    }
    if needed && sb.device_is_read_only() {
        let why = fmt!("the journal needs replay, but the device is read-only");
        return Err(refuse(sb.id(), log, why, EROFS));
    }
    if read_only && !needed && !has_unfinished(sb)? {
        return Ok(false);
    }
    if stale {
        let what = "no recovery is needed by the super block: the log is thrown away";
        pr_warn!("{}: {}\n", sb.id(), what);
        journal.wipe()?;
    }
    let error = journal.errno();
    if let Some(e) = error {
        pr_warn!(
            "{}: the journal was aborted before with error {}\n",
            sb.id(),
            e.to_errno()
        );
    }
    let mark = read_super(fs, |raw| raw.error_mark())?;
    journal.load(|journal| {
        // A read-only mount may be made a writing one.
        journal.set_features(JournalFeatures {
            wide: fs.geo.features.has_incompat(features::INCOMPAT_64BIT),
            checksums: fs.geo.has_metadata_csum,
        })?;
        keep_mark(fs, &mark, error.is_some())?;
        if error.is_some() {
            journal.clear_err()?;
        }
        if options.commit != 0 {
            journal.set_commit_interval(options.commit);
        }
        if needed {
            journal.flush()?;
        }
        Ok(())
    })?;
    Ok(needed)
}

/// After a replay, which may have written an older super block over the mark `before` it; with
/// `aborted`, the journal alone knows of an error so far, and is about to forget it.
fn keep_mark(fs: &Rext4, before: &ErrorMark, aborted: bool) -> Result {
    let now = read_super(fs, |raw| raw.error_mark())?;
    let lost = before.is_set() && *before != now;
    if !lost && !aborted {
        return Ok(());
    }
    write_super(fs, |raw| {
        raw.keep_error_mark(before);
        if aborted {
            raw.update_state(STATE_ERROR, 0);
        }
    })
}

/// Says so if the file system should be checked.
fn advise(sb: &Sb) -> Result {
    if let Some(why) = read_super(sb.data(), |raw| raw.check_advice(now()))? {
        pr_warn!("{}: run e2fsck: {}\n", sb.id(), why);
    }
    Ok(())
}

/// The end of the mount, or of a failed start. The journal has been closed; its outcome is an error
/// also if it was aborted.
pub(super) fn stop(sb: &Sb) {
    let fs = sb.data();
    let journal = fs.journal.outcome();
    alloc::check_promises(sb);
    if fs.access.get() == Access::ReadOnly {
        return;
    }
    if fs.access.is_shut_down() {
        marks::after_shutdown(sb);
        return;
    }
    if journal.is_err() {
        // Nobody has noted this error so far.
        if fs.access.end() {
            journal_error(sb);
        }
        leave_to_recovery(sb);
        pr_warn!(
            "{}: unmounted after errors; the journal needs recovery\n",
            sb.id()
        );
        return;
    }
    if let Err(e) = end_writing(sb) {
        pr_err!(
            "{}: super block not written: error {}\n",
            sb.id(),
            e.to_errno()
        );
    }
}

/// Remount.
pub(super) fn reconfigure(remount: &Remount<'_, Rext4>, mut opts: Options) -> Result {
    let sb = remount.sb();
    let fs = sb.data();
    if opts.noload && !remount.read_only() {
        let why = fmt!("norecovery needs a read-only mount");
        return Err(refuse(sb.id(), remount.log(), why, EINVAL));
    }
    check_kept(remount, &opts)?;
    opts.suit(sb.device(), sb.id(), remount.log());
    if fs.access.is_shut_down() {
        shutdown::check_reconfigure(remount)?;
    } else if remount.read_only() {
        turn_read_only(remount)?;
    } else if sb.is_read_only() {
        write_with(sb, remount.log(), &opts).inspect_err(|&e| unsaid(remount.log(), e))?;
    } else {
        remount.sync()?;
    }
    if let Some(journal) = fs.journal() {
        journal.set_barrier(opts.barrier());
        journal.set_commit_interval(opts.commit);
    }
    remount.set_acls(opts.acl);
    remount.set_crypt_by_device(opts.inlinecrypt);
    fs.dio_gate.set(opts.dio_gate);
    fs.in_force.set(&opts);
    fs.discard_later();
    fs.groups.root_blocks.give_to(&opts);
    *fs.options.lock() = opts;
    Ok(())
}

/// To read-only. That always works, once what is dirty is written: also after an abort, when the
/// log is the truth and stays for recovery.
fn turn_read_only(remount: &Remount<'_, Rext4>) -> Result {
    let sb = remount.sb();
    let fs = sb.data();
    let synced = remount.sync();
    let Some(journal) = fs.journal() else {
        return Ok(());
    };
    if synced.is_err() && !journal.is_aborted() && !remount.is_forced() {
        return synced;
    }
    stop_writing(sb, journal);
    Ok(())
}

/// [`turn_writable`] with the options that are asked for: they tell what is done about an error
/// that finishing the orphans meets, and what a commit of that flushes.
fn write_with(sb: &Sb, log: &MountLog<'_>, options: &Options) -> Result {
    let fs = sb.data();
    let before = mem::replace(&mut *fs.options.lock(), options.clone());
    fs.in_force.set(options);
    turn_writable(sb, log, options).inspect_err(|_| {
        if let Some(journal) = fs.journal() {
            journal.set_barrier(before.barrier());
        }
        fs.in_force.set(&before);
        *fs.options.lock() = before;
    })
}

/// From read-only to read-write. The VFS changes its flag when this has succeeded.
fn turn_writable(sb: &Sb, log: &MountLog<'_>, options: &Options) -> Result {
    let fs = sb.data();
    if fs.journal().is_some_and(|j| j.is_aborted()) || fs.has_errors() {
        let why = fmt!("not remounted read-write after errors; run e2fsck");
        return Err(refuse(sb.id(), log, why, EROFS));
    }
    // As ext4. A mount finds them on the disk.
    let refuse_left = || {
        let why = fmt!("files removed before are not freed; unmount and mount again");
        refuse(sb.id(), log, why, EINVAL)
    };
    let is_left = || fs.orphans.left.load(Relaxed) > 0;
    if is_left() {
        return Err(refuse_left());
    }
    check_rw_mount(sb.id(), log, &fs.geo, sb.device_is_read_only())?;
    read_again(sb, log)?;
    match fs.journal() {
        Some(journal) => journal.set_barrier(options.barrier()),
        None => {
            open_journal(sb, log, options, false)?;
        }
    }
    advise(sb)?;
    let alive = || fs.journal().is_some_and(|j| !j.is_aborted());
    let begun = begin_writing(sb).and_then(|()| match fs.access.get() {
        // Of those that go just now ([`orphan::leave`]).
        _ if is_left() => Err(refuse_left()),
        Access::Writing if alive() => Ok(()),
        // The journal has died over the orphans, or somebody shuts down just now.
        _ => Err(fs.access.refusal()),
    });
    begun.inspect_err(|_| {
        if let Some(journal) = fs.journal() {
            stop_writing(sb, journal);
        }
    })
}

/// What is read-only here may have been changed on the disk: a root is mounted, then checked by
/// e2fsck, then remounted. The bitmaps are in buffers, which are the device's own, but the
/// descriptors are kept as they were read. What else was decided at mount must be as it was.
fn read_again(sb: &Sb, log: &MountLog<'_>) -> Result {
    // Those that a mount sets itself, or that it does not look at.
    const OWN: Features = Features {
        compat: !(features::COMPAT_HAS_JOURNAL | features::COMPAT_ORPHAN_FILE),
        incompat: features::INCOMPAT_RECOVER,
        ro_compat: features::RO_COMPAT_ORPHAN_PRESENT | features::RO_COMPAT_LARGE_FILE,
    };
    let geo = &sb.data().geo;
    let is_same = read_super(sb.data(), |raw| {
        let (now, was) = (raw.features(), geo.features);
        (now.compat ^ was.compat) & !OWN.compat == 0
            && (now.incompat ^ was.incompat) & !OWN.incompat == 0
            && (now.ro_compat ^ was.ro_compat) & !OWN.ro_compat == 0
            && raw.blocks_count() == geo.blocks_count
            && Ino::from_disk(raw.journal_inum.get()) == geo.journal_inum
    })?;
    if !is_same {
        let why = fmt!("the superblock has been changed; unmount and mount again");
        return Err(refuse(sb.id(), log, why, EINVAL));
    }
    if !recover::is_known(sb)? {
        let why = fmt!("open files without a name were freed on disk; unmount and mount again");
        return Err(refuse(sb.id(), log, why, EINVAL));
    }
    sb.data().sharers.forget();
    sb.data().groups.init_counts(sb)
}

/// `sync(2)`: commits what is running; with `wait`, until it is durable.
pub(super) fn sync(sb: &Sb, wait: bool) -> Result {
    let fs = sb.data();
    let Some(journal) = fs.journal() else {
        return Ok(());
    };
    match fs.access.get() {
        Access::ReadOnly => return Ok(()),
        Access::Emergency => return Err(fs.access.refusal()),
        Access::Writing | Access::Frozen => (),
    }
    let tid = journal.latest_tid();
    let barrier = wait && !journal.will_send_data_barrier(tid);
    let committed = if wait {
        journal.force_commit()
    } else {
        journal.start_commit();
        Ok(())
    };
    // A commit that is over may have failed with nobody there to be told; jbd2 answers only for
    // one that runs.
    if let Some(e) = journal.errno() {
        fs.journal_died();
        fs.access.check_alive()?;
        return Err(e);
    }
    committed?;
    if barrier && fs.uses_barriers() {
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
    if fs.access.get() == Access::ReadOnly {
        return Ok(());
    }
    // The VFS has synced, but what was dirtied since then (by a device that had the page pinned)
    // may be on its way: its completion needs a handle.
    sb.wait_for_writeback();
    if !fs.access.leave(Access::Frozen) {
        return Err(fs.access.refusal());
    }
    fs.groups.trims.wait_over();
    empty_log(sb, journal).inspect_err(|_| reopen(sb, journal))
}

/// Ends [`freeze`]. Never fails: the VFS would stay frozen.
pub(super) fn unfreeze(sb: &Sb) -> Result {
    let fs = sb.data();
    if let Some(journal) = fs.journal().filter(|_| fs.access.get() == Access::Frozen) {
        reopen(sb, journal);
    }
    Ok(())
}
