// SPDX-License-Identifier: GPL-2.0

//! Writeback by iomap: from dirty folios to bios, and the completion in process context.
//!
//! C headers: [`include/linux/iomap.h`](srctree/include/linux/iomap.h),
//! [`include/linux/writeback.h`](srctree/include/linux/writeback.h)

mod complete;

pub(super) use complete::{end_bio, Completions};

use super::{
    bindings,
    blk_crypto,
    fixed,
    inode::Inode,
    iomap::{self, Map},
    kiocb::not_queued,
    super_block::{FileSystem, SuperBlock}, //
};
use core::{marker::PhantomData, mem, ops::Range, ptr};
use kernel::{
    build_error,
    error::{to_result, VTABLE_DEFAULT_ERROR},
    prelude::*,
    sync::atomic::ordering, //
};

/// The dirty bytes that writeback has in hand. Their folio is locked and under writeback, and no
/// mapping of it is writable.
///
/// # Invariants
///
/// `folio` is locked, under writeback, and holds the bytes.
pub(crate) struct DirtyBytes<'a> {
    folio: *mut bindings::folio,
    range: Range<u64>,
    _folio: PhantomData<&'a ()>,
}

impl DirtyBytes<'_> {
    /// Where they are in the file.
    pub(crate) fn range(&self) -> Range<u64> {
        self.range.clone()
    }

    /// Whether the first `len` of them, or all if there are fewer, are zero.
    pub(crate) fn start_is_zero(&self, len: u64) -> bool {
        let page = 1 << kernel::page::PAGE_SHIFT;
        let Range { start, end } = self.range;
        let (mut at, end) = (start, end.min(start + len));
        while at < end {
            // Not beyond the page: of a folio in high memory only one is mapped.
            let n = (page - at % page).min(end - at);
            // SAFETY: By the type invariant; the bytes lie in one page. A device may store to them
            // meanwhile: C reads them, and either answer is right.
            if !unsafe { bindings::folio_is_zero(self.folio, at, n as usize) } {
                return false;
            }
            at += n;
        }
        true
    }
}

/// What is asked of `write_inode` (`struct writeback_control`).
pub(crate) struct WritebackControl<'a>(pub(super) &'a bindings::writeback_control);

impl WritebackControl<'_> {
    /// Whether the inode's changes must be durable on return (`WB_SYNC_ALL`).
    pub(crate) fn must_wait(&self) -> bool {
        self.0.sync_mode == bindings::writeback_sync_modes_WB_SYNC_ALL
    }

    /// Whether all inodes of the super block are being written, and what calls this makes them
    /// durable together: [`FileSystem::sync`] follows, or nobody needs it (`for_sync`).
    pub(crate) fn is_for_sync(&self) -> bool {
        self.0.for_sync() != 0
    }
}

/// Writeback of regular files.
#[vtable]
pub(crate) trait Writeback: 'static {
    /// Whose files they are.
    type Fs: FileSystem;

    /// Makes `map` cover the first of the dirty bytes. A hole is not written: only below bytes that
    /// are zero. `map` is what the call before left, to be used again only if it
    /// is still valid. The folio is locked and under writeback: no folio lock, no wait for
    /// writeback, no user memory.
    fn map_blocks(_inode: &Inode<Self::Fs>, _bytes: &DirtyBytes<'_>, _map: &mut Map) -> Result {
        build_error!(VTABLE_DEFAULT_ERROR)
    }

    /// Whether the contents of an encrypted file are written as they are. For tests that want to
    /// see them on the disk.
    fn writes_plain(_inode: &Inode<Self::Fs>) -> bool {
        false
    }

    /// The bytes are in a bio. The mapping stays for the next range. For tests that hold it here.
    fn added(_inode: &Inode<Self::Fs>, _bytes: Range<u64>) {}

    /// The dirty bytes will not be written, an error is reported: give back what is reserved for
    /// them. Their folio is locked.
    fn discard(_inode: &Inode<Self::Fs>, _bytes: Range<u64>) {}

    /// Whether what is in a bio may still be written after an error of another folio. Folios are
    /// under writeback: no wait for it.
    fn may_submit(_inode: &Inode<Self::Fs>) -> bool {
        true
    }

    /// Whether an I/O that ends at byte `end` needs [`Writeback::complete`]. Asked before it is
    /// submitted; that of an encrypted file is asked for again when it is done, by the worker.
    fn needs_completion(_inode: &Inode<Self::Fs>, _unwritten: bool, _end: u64) -> bool {
        true
    }

    /// The bytes are on disk: convert them if they were unwritten, move the size on disk. Before
    /// PG_writeback ends; reclaim may not enter file systems. Runs in a worker, or of a device that
    /// is done when it is given the I/O, in the context of [`Writeback::map_blocks`].
    fn complete(_inode: &Inode<Self::Fs>, _bytes: Range<u64>, _unwritten: bool) -> Result {
        build_error!(VTABLE_DEFAULT_ERROR)
    }

    /// The bytes are not on disk, or [`Writeback::complete`] has failed: gives back what is
    /// promised to them. The pages are clean, but for those that became dirty again meanwhile. In
    /// the same context; only of an I/O that needs a completion.
    fn failed(_inode: &Inode<Self::Fs>, _bytes: Range<u64>) {}
}

/// Nothing is ever dirty: the files cannot be written.
#[allow(dead_code, reason = "for file systems that are only read")]
pub(crate) struct NoWriteback<F>(PhantomData<F>);

#[vtable]
impl<F: FileSystem> Writeback for NoWriteback<F> {
    type Fs = F;
    type OwnerModule = F::OwnerModule;
}

struct WritebackTable<W>(PhantomData<W>);

impl<W: Writeback> WritebackTable<W> {
    const TABLE: bindings::iomap_writeback_ops = bindings::iomap_writeback_ops {
        writeback_range: Some(Self::writeback_range),
        writeback_submit: Some(Self::writeback_submit),
    };

    /// # Safety
    ///
    /// `wpc` is the context of [`writepages_callback`] of `W`, in this thread; `folio` is locked,
    /// under writeback, in the mapping of its inode, and holds the bytes.
    unsafe extern "C" fn writeback_range(
        wpc: *mut bindings::iomap_writepage_ctx,
        folio: *mut bindings::folio,
        pos: u64,
        len: c_uint,
        end_pos: u64,
    ) -> isize {
        // SAFETY: By the caller.
        let (inode, map) = unsafe {
            (
                Inode::<W::Fs>::from_raw((*wpc).inode),
                Map::from_raw(&raw mut (*wpc).iomap),
            )
        };
        let bytes = DirtyBytes {
            folio,
            range: iomap::in_one_count(inode, pos..pos + u64::from(len)),
            _folio: PhantomData,
        };
        let mapped = encrypts::<W>(inode).and_then(|encrypts| {
            W::map_blocks(inode, &bytes, map)?;
            if encrypts {
                map.end_with_units(inode, pos);
                // SAFETY: By the caller; the inode has its key.
                unsafe { Self::separate(wpc, pos as i64) }?;
            }
            Ok(encrypts)
        });
        let ret = match mapped {
            // SAFETY: All pointers are iomap's own. What it has in hand then, if anything, is not
            // submitted, and begins where it says.
            Ok(encrypts) => unsafe {
                let ret = bindings::iomap_add_to_ioend(wpc, folio, pos as i64, end_pos as i64, len);
                let ioend = (*wpc).wb_ctx.cast::<bindings::iomap_ioend>();
                if encrypts && !ioend.is_null() {
                    let bio = &raw mut (*ioend).io_bio;
                    blk_crypto::give_key(bio, (*wpc).inode, (*ioend).io_offset);
                }
                ret
            },
            // A direct read waits for the writeback of its range.
            Err(e) => not_queued(e).to_errno() as isize,
        };
        if ret < 0 {
            // iomap clears the dirty bits of the whole folio now: what was reserved for them
            // would never be used. The error is in the mapping, for fsync.
            W::discard(inode, pos..end_pos);
        }
        W::added(inode, bytes.range());
        ret
    }

    /// Submits what is in hand if the byte `pos` cannot be encrypted as a part of it.
    ///
    /// # Safety
    ///
    /// `wpc` is the context of [`writepages_callback`] of `W`, in this thread, of an inode whose
    /// contents are encrypted and that has its key.
    unsafe fn separate(wpc: *mut bindings::iomap_writepage_ctx, pos: i64) -> Result {
        // SAFETY: By the caller. iomap submits no ioend twice: it has none then.
        unsafe {
            let ioend = (*wpc).wb_ctx.cast::<bindings::iomap_ioend>();
            if ioend.is_null()
                || bindings::bio_takes_crypted(&raw mut (*ioend).io_bio, (*wpc).inode, pos)
            {
                return Ok(());
            }
            let submitted = Self::writeback_submit(wpc, 0);
            (*wpc).wb_ctx = ptr::null_mut();
            to_result(submitted)
        }
    }

    /// # Safety
    ///
    /// `wpc` is the context of [`writepages_callback`] of `W`, in this thread, with an ioend that
    /// is not submitted.
    unsafe extern "C" fn writeback_submit(
        wpc: *mut bindings::iomap_writepage_ctx,
        error: c_int,
    ) -> c_int {
        // SAFETY: By the caller the ioend is ours until it is submitted; the bio's end_io runs
        // once.
        unsafe {
            let ioend = (*wpc).wb_ctx.cast::<bindings::iomap_ioend>();
            let inode = Inode::<W::Fs>::from_raw((*wpc).inode);
            let unwritten = u32::from((*ioend).io_flags) & bindings::IOMAP_IOEND_UNWRITTEN != 0;
            let end = ((*ioend).io_offset as u64).saturating_add((*ioend).io_size as u64);
            let encrypts = encrypts::<W>(inode);
            let has_key = bindings::bio_has_crypt_ctx(&raw mut (*ioend).io_bio);
            // iomap's own end of it is known to iomap only, which would submit it without the key.
            let completes =
                W::HAS_COMPLETE && (has_key || W::needs_completion(inode, unwritten, end));
            if completes {
                (*ioend).io_bio.bi_end_io = Some(end_bio::<W>);
                inode.sb().in_flight().add(1, ordering::Relaxed);
                // Our worker is task context already.
                bindings::bio_clear_in_task(&raw mut (*ioend).io_bio);
            }
            // An error is another folio's. Those of the ioend have their blocks, and may have been
            // written to since that error; with it iomap would end them without a write.
            let own = match encrypts {
                _ if error != 0 && !W::may_submit(inode) => error,
                Ok(encrypts) if has_key || !encrypts => 0,
                // Never what is to be encrypted as it is.
                _ => EIO.to_errno(),
            };
            let submit = || {
                if has_key && own == 0 && W::HAS_COMPLETE {
                    bindings::blk_crypto_submit_bio(&raw mut (*ioend).io_bio);
                    0
                } else {
                    bindings::iomap_ioend_writeback_submit(wpc, own)
                }
            };
            let waits = WritebackControl(&*(*wpc).wbc).must_wait();
            let submitted = if completes && waits {
                complete::submit::<W>(inode, submit)
            } else {
                submit()
            };
            if error == 0 {
                submitted
            } else {
                error
            }
        }
    }
}

/// Whether what is written of the file is to be encrypted. `ENOKEY`.
fn encrypts<W: Writeback>(inode: &Inode<W::Fs>) -> Result<bool> {
    Ok(inode.encrypts_data()? && !(W::HAS_WRITES_PLAIN && W::writes_plain(inode)))
}

/// Frozen, nothing is written back: it might need a transaction. What is dirty all the same (a
/// device that had pinned a mapped page has written to it meanwhile) stays so until the thaw. Who
/// wants it written (`fsync`, a direct read) waits for that, but not `sync`: it holds s_umount,
/// which the thaw needs, and is told `EAGAIN`.
///
/// # Safety
///
/// `mapping` is of a regular file of `W::Fs`, which the caller keeps; `wbc` is this thread's.
pub(super) unsafe extern "C" fn writepages_callback<W: Writeback>(
    mapping: *mut bindings::address_space,
    wbc: *mut bindings::writeback_control,
) -> c_int {
    // SAFETY: All zeroes is an empty mapping and no pending context.
    let mut wpc: bindings::iomap_writepage_ctx = unsafe { mem::zeroed() };
    // SAFETY: By the caller.
    wpc.inode = unsafe { (*mapping).host };
    wpc.wbc = wbc;
    wpc.ops = fixed(&WritebackTable::<W>::TABLE);
    // SAFETY: As above. An inode that is being written has its super block.
    let sb = unsafe { SuperBlock::<W::Fs>::from_raw((*wpc.inode).i_sb) };
    let _running = match sb.try_start_intwrite() {
        Some(running) => running,
        None => {
            // SAFETY: By the caller.
            let control = WritebackControl(unsafe { &*wbc });
            match (control.must_wait(), control.is_for_sync()) {
                (false, _) => return 0,
                (true, true) => return EAGAIN.to_errno(),
                // Holds i_rwsem at most.
                (true, false) => sb.start_intwrite(),
            }
        }
    };
    // SAFETY: The context lives on this stack during the call; iomap keeps no pointer to it.
    unsafe { bindings::iomap_writepages(&mut wpc) }
}
