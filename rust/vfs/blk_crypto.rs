// SPDX-License-Identifier: GPL-2.0

//! Files whose contents are encrypted. The block layer does it (blk-crypto): a bio is given the key
//! of its file and the place of its first byte, and what it writes is encrypted on its way, what it
//! reads decrypted. The page cache has plain bytes.
//!
//! Direct I/O of iomap gives its bios their keys itself. Its buffered I/O knows nothing of keys
//! (fs/iomap/bio.c, ioend.c), so what gives them is here, and in [`super::writeback`]. Three things
//! hold for each bio of such a file:
//!
//! - It has its key from when it has its first bytes.
//! - Its bytes follow one another in the file, and so do their data units: each has a number of its
//!   own, that is counted on along the bio. Two blocks that are neighbours on the disk only get a
//!   bio each, and so does what lies beyond the place where the numbers of some policies begin
//!   again at 0 ([`Map::end_with_units`](super::iomap::Map::end_with_units)).
//! - It goes to `blk_crypto_submit_bio()`. What is submitted otherwise fails, unless the device
//!   knows of keys.
//!
//! A file whose key is not there is neither read nor written.
//!
//! C headers: [`include/linux/blk-crypto.h`](srctree/include/linux/blk-crypto.h),
//! [`include/linux/fscrypt.h`](srctree/include/linux/fscrypt.h)

use super::{
    address_space::AddressSpaceOps,
    bindings,
    inode::Inode,
    iomap,
    super_block::FileSystem,
    writeback::{end_bio, Writeback}, //
};
use core::{marker::PhantomData, mem, ptr};
use kernel::{error::to_result, prelude::*, sync::atomic::ordering};

impl<F: FileSystem> Inode<F> {
    /// Whether it is a file whose contents are encrypted. Any context.
    pub(crate) fn has_encrypted_data(&self) -> bool {
        self.is_encrypted() && self.is_file()
    }

    /// The same. `ENOKEY` if it is and its key is not there.
    pub(crate) fn encrypts_data(&self) -> Result<bool> {
        if !self.has_encrypted_data() {
            Ok(false)
        } else if self.has_crypt_key() {
            Ok(true)
        } else {
            Err(ENOKEY)
        }
    }

    /// Makes what a read of the file's bytes from `pos` on shows zeros: `len` bytes at byte `at` of
    /// the device. Whole blocks, which are the file's. Sleeps for the device. `ENOKEY`.
    ///
    /// Of an encrypted file other bytes are written to each block: those that zeros become.
    pub(crate) fn zero_on_device(&self, pos: u64, at: u64, len: u64) -> Result {
        if !self.encrypts_data()? {
            return self.sb().device().zero(at, len);
        }
        // SAFETY: By the type invariant, and the file has its key.
        to_result(unsafe { bindings::zero_crypted(self.as_ptr(), pos as i64, at >> 9, len) })
    }
}

/// Gives a bio of an encrypted file its key, if it has none.
///
/// # Safety
///
/// `bio` is null, or one for the bytes of `inode` from `pos` on that is not submitted;
/// [`Inode::encrypts_data`] has said so of the inode.
pub(super) unsafe fn give_key(bio: *mut bindings::bio, inode: *mut bindings::inode, pos: i64) {
    // SAFETY: By the caller.
    unsafe {
        if !bio.is_null() && !bindings::bio_has_crypt_ctx(bio) {
            bindings::bio_set_crypt_ctx(bio, inode, pos);
        }
    }
}

/// Filling the page cache of encrypted files.
pub(super) struct ReadTable<F>(PhantomData<F>);

impl<F: AddressSpaceOps> ReadTable<F> {
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
        F::Writeback::HAS_COMPLETE
    }

    /// Reads a folio, which is unlocked when that is done. `EIO`: it is unlocked, and not read.
    ///
    /// # Safety
    ///
    /// As for `read_folio` of the address space; [`Inode::encrypts_data`] has said so of the inode.
    pub(super) unsafe fn read_folio(folio: *mut bindings::folio) -> Result {
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
            bindings::iomap_read_folio(iomap::table::<F::ReadOps>(), &mut ctx, ptr::null_mut());
        }
        Ok(())
    }

    /// Reads ahead. What is not taken the caller takes out of the page cache.
    ///
    /// # Safety
    ///
    /// As for `readahead` of the address space; [`Inode::encrypts_data`] has said so of the inode.
    pub(super) unsafe fn readahead(rac: *mut bindings::readahead_control) {
        if !Self::is_able() {
            return;
        }
        let ops = Self::ops();
        // SAFETY: As in `read_folio`.
        unsafe {
            let mut ctx: bindings::iomap_read_folio_ctx = mem::zeroed();
            ctx.ops = &raw const ops;
            ctx.rac = rac;
            bindings::iomap_readahead(iomap::table::<F::ReadOps>(), &mut ctx, ptr::null_mut());
        }
    }

    /// # Safety
    ///
    /// `iter` and `ctx` are of a call of this table's in this thread, over an encrypted inode of
    /// `F` with its key; the folio of `ctx` has `len` bytes at the place of `iter`
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
            let inode = Inode::<F>::from_raw((*ioend).io_inode);
            inode.sb().in_flight().add(1, ordering::Relaxed);
            end_bio::<F::Writeback>(bio);
        }
    }
}

/// Reads what a write to a folio leaves of its blocks, and waits for it.
///
/// # Safety
///
/// `iter` is this thread's, over an inode whose contents are encrypted and that has its key;
/// `folio` is of it and locked, and its `len` bytes from byte `pos` of the file on lie in the
/// mapping of `iter` (__iomap_write_begin()).
pub(super) unsafe extern "C" fn read_for_write(
    iter: *const bindings::iomap_iter,
    folio: *mut bindings::folio,
    pos: i64,
    len: usize,
) -> c_int {
    // SAFETY: By the caller.
    unsafe { bindings::read_crypted(iter, folio, pos, len) }
}
