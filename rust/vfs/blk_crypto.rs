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
//!   again at 0 ([`in_one_count`](super::iomap::in_one_count)).
//! - It goes to `blk_crypto_submit_bio()`. What is submitted otherwise fails, unless the device
//!   knows of keys.
//!
//! A file whose key is not there is neither read nor written.
//!
//! C headers: [`include/linux/blk-crypto.h`](srctree/include/linux/blk-crypto.h),
//! [`include/linux/fscrypt.h`](srctree/include/linux/fscrypt.h)

pub(super) mod read;

use super::{bindings, inode::Inode, super_block::FileSystem};
use kernel::{error::to_result, prelude::*};

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
