// SPDX-License-Identifier: GPL-2.0

//! The page cache of encrypted files is filled.
//!
//! C header: [`include/linux/iomap.h`](srctree/include/linux/iomap.h)

use super::give_key;
use crate::vfs::{
    bindings,
    inode::Inode,
    iomap::{self, MapOps},
    writeback::{end_bio, Writeback}, //
};
use core::{marker::PhantomData, mem, ptr};
use kernel::{prelude::*, sync::atomic::ordering};

/// Fills folios by the mappings of `M`. Of a file system that writes as `W` says.
pub(in crate::vfs) struct ReadTable<M, W>(PhantomData<(M, W)>);

impl<M: MapOps, W: Writeback<Fs = M::Fs>> ReadTable<M, W> {
    /// What iomap calls. It keeps no pointer to it.
    fn ops() -> bindings::iomap_read_ops {
        bindings::iomap_read_ops {
            read_folio_range: Some(Self::read_range),
            submit_read: Some(Self::submit),
            // SAFETY: Returns the address of a static.
            bio_set: unsafe { bindings::ioend_bio_set() },
        }
    }

    /// Whether there is a worker for reads that fail.
    fn is_able() -> bool {
        W::HAS_COMPLETE
    }

    /// Reads a folio, which is unlocked when that is done. `EIO`: it is unlocked, and not read.
    ///
    /// # Safety
    ///
    /// As for `read_folio` of the address space; [`Inode::encrypts_data`] has said so of the inode.
    pub(in crate::vfs) unsafe fn read_folio(folio: *mut bindings::folio) -> Result {
        if !Self::is_able() {
            // SAFETY: By the caller we own its lock.
            unsafe { bindings::folio_unlock(folio) };
            return Err(EIO);
        }
        let ops = Self::ops();
        // SAFETY: By the caller. All zeroes is a context without a bio; it and the table live
        // during the call.
        unsafe {
            let mut ctx: bindings::iomap_read_folio_ctx = mem::zeroed();
            ctx.ops = &raw const ops;
            ctx.cur_folio = folio;
            bindings::iomap_read_folio(iomap::table::<M>(), &mut ctx, ptr::null_mut());
        }
        Ok(())
    }

    /// Reads ahead. What is not taken the caller takes out of the page cache.
    ///
    /// # Safety
    ///
    /// As for `readahead` of the address space; [`Inode::encrypts_data`] has said so of the inode.
    pub(in crate::vfs) unsafe fn readahead(rac: *mut bindings::readahead_control) {
        if !Self::is_able() {
            return;
        }
        let ops = Self::ops();
        // SAFETY: As in `read_folio`.
        unsafe {
            let mut ctx: bindings::iomap_read_folio_ctx = mem::zeroed();
            ctx.ops = &raw const ops;
            ctx.rac = rac;
            bindings::iomap_readahead(iomap::table::<M>(), &mut ctx, ptr::null_mut());
        }
    }

    /// # Safety
    ///
    /// `iter` and `ctx` are of a call of this table's in this thread, over an encrypted inode of
    /// `M::Fs` with its key; the folio of `ctx` has `len` bytes at the place of `iter`
    /// (iomap_read_folio_iter()).
    unsafe extern "C" fn read_range(
        iter: *const bindings::iomap_iter,
        ctx: *mut bindings::iomap_read_folio_ctx,
        len: usize,
    ) -> c_int {
        // SAFETY: By the caller. A bio of the context has its key, and iomap may submit it and
        // begin another one, whose first bytes are those.
        unsafe {
            let (inode, pos) = ((*iter).inode, (*iter).pos);
            let bio = (*ctx).read_ctx.cast::<bindings::bio>();
            // iomap looks at the place on the disk only. It ends a bio with each mapping, but does
            // not say that it always will.
            if !bio.is_null() && !bindings::bio_takes_crypted(bio, inode, pos) {
                Self::submit(iter, ctx);
            }
            let ret = bindings::iomap_bio_read_folio_range(iter, ctx, len);
            give_key((*ctx).read_ctx.cast(), inode, (*ctx).read_ctx_file_offset);
            ret
        }
    }

    /// # Safety
    ///
    /// As for [`Self::read_range`], and there is a bio.
    unsafe extern "C" fn submit(
        iter: *const bindings::iomap_iter,
        ctx: *mut bindings::iomap_read_folio_ctx,
    ) {
        // SAFETY: By the caller the bio is ours until it is submitted. It is from the bio set of
        // ioends, and so the last member of one.
        unsafe {
            let bio = (*ctx).read_ctx.cast::<bindings::bio>();
            (*ctx).read_ctx = ptr::null_mut();
            bindings::iomap_init_ioend((*iter).inode, bio, (*ctx).read_ctx_file_offset, 0);
            (*bio).bi_end_io = Some(Self::end);
            bindings::blk_crypto_submit_bio(bio);
        }
    }

    /// A read is over. One that has failed is ended by the worker: the report of the error takes
    /// locks that this context may hold.
    ///
    /// # Safety
    ///
    /// `bio` was submitted by [`Self::submit`]. Called once.
    unsafe extern "C" fn end(bio: *mut bindings::bio) {
        // SAFETY: By the caller. The folios are locked, which keeps their inode, until they are
        // ended here or by the worker.
        unsafe {
            if (*bio).bi_status == 0 {
                return bindings::end_good_read(bio);
            }
            let ioend = kernel::container_of!(bio, bindings::iomap_ioend, io_bio);
            let inode = Inode::<M::Fs>::from_raw((*ioend).io_inode);
            inode.sb().in_flight().add(1, ordering::Relaxed);
            end_bio::<W>(bio);
        }
    }
}
