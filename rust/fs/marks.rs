// SPDX-License-Identifier: GPL-2.0

//! The mark on disk that errors were found: what makes e2fsck look.
//!
//! It is written when the first error is found, not at unmount, which a crash or a panic would
//! forestall. Three ways lead there:
//!
//! - While the journal works, a transaction ([`through_journal`]), from a work item: whoever finds
//!   an error may hold the super block's lock, or a handle without credits.
//! - When the journal is dead, or about to be with the machine, past the journal and past the
//!   buffer ([`past_journal`]): the buffer may hold changes of transactions that will never commit.
//!   What is read from the disk gets the mark and goes back.
//! - Where the super block is written anyway while no transaction holds it (mount, freeze,
//!   unmount).
//!
//! A replay writes older super blocks over it, so `mount` puts back what was there before. And jbd2
//! keeps the error of an abort in the journal's own super block, until the mark is written.

use super::{
    credits,
    primary::{self, journal_super, read_super},
    Inode,
    Sb, //
};
use crate::disk::superblock::{error_code, ErrorMark, FoundError, RawSuper, SUPER_SIZE};
use crate::vfs::atomic::Atomic;
use core::panic::Location;
use kernel::{
    error::code::*,
    new_mutex,
    prelude::*,
    sync::{
        atomic::Relaxed,
        Mutex, //
    },
};
use zerocopy::FromBytes;

/// Errors found and not yet recorded.
#[derive(Clone, Copy)]
pub(crate) struct Errors {
    first: FoundError<'static>,
    last: FoundError<'static>,
    count: u32,
}

#[derive(Default)]
struct FoundErrors {
    pending: Option<Errors>,
    /// The mark that was written past the journal: older copies may come over it.
    on_disk: Option<ErrorMark>,
}

/// What this mount has to say on disk about errors.
#[pin_data]
pub(crate) struct ErrorMarks {
    #[pin]
    found: Mutex<FoundErrors>,
    /// There is one that [`sysfs`](super::sysfs) has not told of.
    news: Atomic<bool>,
    /// Memory for one block, since an error may be found when there is none.
    #[pin]
    block: Mutex<KVec<u8>>,
}

impl ErrorMarks {
    /// No errors, on a file system of this block size.
    pub(crate) fn new(block_size: u32) -> impl PinInit<Self, Error> {
        pin_init::pin_init_scope(move || {
            let block = KVec::from_elem(0, block_size as usize, GFP_KERNEL)?;
            Ok(try_pin_init!(Self {
                found <- new_mutex!(FoundErrors::default(), "rext4_marks"),
                news: Atomic::new(false),
                block <- new_mutex!(block, "rext4_marks_block"),
            }? Error))
        })
    }

    /// Notes an error, to be recorded with the next write of the super block. Any context that may
    /// sleep.
    pub(crate) fn note(&self, inode: Option<&Inode>, err: Error, at: &'static Location<'static>) {
        let error = FoundError {
            sec: crate::vfs::inode::now().sec as u64,
            ino: inode.map(Inode::ino),
            // From the folder of the sources on.
            func: at.file().rsplit_once("rust/").map_or(at.file(), |(_, f)| f),
            line: at.line(),
            code: match err {
                e if e == EUCLEAN => error_code::EFSCORRUPTED,
                e if e == EIO => error_code::EIO,
                e if e == ENOMEM => error_code::ENOMEM,
                _ => error_code::UNKNOWN,
            },
        };
        let mut found = self.found.lock();
        let before = found.pending.as_ref();
        found.pending = Some(Errors {
            first: before.map_or(error, |e| e.first),
            last: error,
            count: before.map_or(0, |e| e.count).saturating_add(1),
        });
        drop(found);
        self.news.store(true, Relaxed);
    }

    /// Whether an error was noted since the last time.
    pub(crate) fn take_news(&self) -> bool {
        self.news.xchg(false, Relaxed)
    }

    /// Records in `raw` what is pending. To be given back if that is not written.
    #[must_use]
    pub(crate) fn apply(&self, raw: &mut RawSuper) -> Option<Errors> {
        let errors = self.found.lock().pending.take();
        if let Some(e) = &errors {
            raw.record_errors(&e.first, &e.last, e.count);
        }
        errors
    }

    /// Has them recorded the next time. What was noted meanwhile came later.
    pub(crate) fn give_back(&self, errors: Option<Errors>) {
        let Some(mut all) = errors else {
            return;
        };
        let mut found = self.found.lock();
        if let Some(more) = found.pending {
            all.last = more.last;
            all.count = all.count.saturating_add(more.count);
        }
        found.pending = Some(all);
    }

    fn is_pending(&self) -> bool {
        self.found.lock().pending.is_some()
    }
}

/// What is known of errors: the mark on disk, and what is to be recorded there. Any context that
/// may sleep.
pub(super) fn known(sb: &Sb) -> Result<ErrorMark> {
    let fs = sb.data();
    primary::read_scratch(fs, |raw| {
        let found = fs.marks.found.lock();
        if let Some(mark) = &found.on_disk {
            raw.keep_error_mark(mark);
        }
        if let Some(e) = &found.pending {
            raw.record_errors(&e.first, &e.last, e.count);
        }
        raw.error_mark()
    })
}

/// Records what is pending in a transaction. Called with no lock and no handle. Frozen, it stays
/// for the thaw.
pub(super) fn through_journal(sb: &Sb) {
    let fs = sb.data();
    if !fs.marks.is_pending() {
        return;
    }
    let mut taken = None;
    let result = fs.start(credits::SUPER).and_then(|handle| {
        journal_super(&handle, fs, |raw| {
            // The first one is worth a commit of its own.
            if !raw.error_mark().is_set() {
                handle.set_sync();
            }
            taken = fs.marks.apply(raw);
        })?;
        handle.stop()
    });
    if result.is_err() {
        fs.marks.give_back(taken);
    }
}

/// Records what is pending in the super block as it is on disk. For when the journal is dead; else
/// a checkpoint may be writing it. Any context that may sleep.
pub(super) fn past_journal(sb: &Sb) {
    let mut taken = None;
    if let Err(e) = change_on_disk(sb, &mut taken) {
        sb.data().marks.give_back(taken);
        pr_err!(
            "{}: not marked as a file system with errors: error {}\n",
            sb.id(),
            e.to_errno()
        );
    }
}

/// The journal was aborted without an error ([`shut_down`](super::mount::shut_down)). What it had
/// of the super block may have been an error mark, or an older copy that came over one past the
/// journal.
pub(super) fn after_shutdown(sb: &Sb) {
    let fs = sb.data();
    // What the buffer says of errors is true, though it may not be on the disk.
    let known = read_super(fs, |raw| raw.error_mark()).ok();
    if let Some(mark) = known.filter(ErrorMark::is_set) {
        let mut found = fs.marks.found.lock();
        found.on_disk = found.on_disk.or(Some(mark));
    }
    if fs.marks.is_pending() || fs.marks.found.lock().on_disk.is_some() {
        // What is dirty of the super block is written now, and not over the mark.
        let _ = sb.device().sync();
        past_journal(sb);
    }
}

fn change_on_disk(sb: &Sb, taken: &mut Option<Errors>) -> Result {
    let (fs, device) = (sb.data(), sb.device());
    if device.is_read_only() {
        return Err(EROFS);
    }
    let (block, off) = primary::position(&fs.geo);
    let at = block << fs.geo.block_bits;
    let mut bytes = fs.marks.block.lock();
    device.read_past_cache(at, &mut bytes)?;
    let raw = raw_at(&mut bytes, off)?;
    if let Some(mark) = &fs.marks.found.lock().on_disk {
        raw.keep_error_mark(mark);
    }
    *taken = fs.marks.apply(raw);
    let mark = raw.error_mark();
    raw.update_checksum();
    device.write_past_cache(at, &mut bytes)?;
    fs.marks.found.lock().on_disk = Some(mark);
    Ok(())
}

/// The super block in its block, if it still is one.
fn raw_at(block: &mut [u8], off: usize) -> Result<&mut RawSuper> {
    let bytes = block.get_mut(off..off + SUPER_SIZE).ok_or(EINVAL)?;
    let raw = RawSuper::mut_from_bytes(bytes).map_err(|_| EINVAL)?;
    if raw.is_intact() {
        Ok(raw)
    } else {
        Err(EUCLEAN)
    }
}
