// SPDX-License-Identifier: GPL-2.0

//! Targets of symbolic links. On the disk an encrypted one has its length before it.
//!
//! C header: [`include/linux/fscrypt.h`](srctree/include/linux/fscrypt.h)

use crate::vfs::{
    bindings,
    inode::{Inode, NewInode, Stage},
    super_block::FileSystem, //
};
use kernel::{
    error::{from_err_ptr, to_result},
    prelude::*, //
};

/// How many bytes the disk needs for the target of a link in a directory.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct LinkLen(u32);

impl LinkLen {
    /// In `dir`, `max` bytes at most with a NUL behind it. `ENAMETOOLONG`; `ENOKEY` if `dir` is
    /// encrypted and its key is not there; `ENOTDIR`, for the key of another inode is not for
    /// names. Not in a handle.
    pub(crate) fn new<F: FileSystem>(dir: &Inode<F>, target: &[u8], max: u32) -> Result<Self> {
        if !dir.is_dir() {
            return Err(ENOTDIR);
        }
        let len = u32::try_from(target.len()).map_err(|_| ENAMETOOLONG)?;
        let mut with_nul = 0;
        // SAFETY: By the type invariant of `Inode`; the target is looked at as a length only, or
        // given back.
        to_result(unsafe {
            bindings::crypt_link_len(
                dir.as_ptr(),
                target.as_ptr().cast(),
                len,
                max,
                &mut with_nul,
            )
        })?;
        with_nul.checked_sub(1).map(Self).ok_or(EINVAL)
    }

    /// Without the NUL.
    pub(crate) fn get(self) -> usize {
        self.0 as usize
    }
}

impl<F: FileSystem, S: Stage> NewInode<'_, F, S> {
    /// What the disk is to hold of the target of a link that is going to be encrypted: as many
    /// bytes as [`LinkLen`] said of its directory. Keeps the target in memory, as for
    /// [`NewInode::fast_symlink`]. Once, after [`NewInode::crypt_context`]. In a handle or not.
    pub(crate) fn encrypt_link(&self, target: &[u8], len: LinkLen) -> Result<KVec<u8>> {
        // SAFETY: By the type invariant the inode is ours.
        let kept = unsafe { (*self.as_ptr()).__bindgen_anon_5.i_link };
        if !self.is_symlink() || !self.has_crypt_key() || !kept.is_null() {
            return Err(EINVAL);
        }
        let mut text = KVec::with_capacity(target.len() + 1, GFP_KERNEL)?;
        text.extend_from_slice(target, GFP_KERNEL)?;
        text.push(0, GFP_KERNEL)?;
        // With the NUL that nobody needs.
        let mut out = KVec::from_elem(0u8, len.get() + 1, GFP_KERNEL)?;
        if len.get() < MIN_LEN || target.len() + LENGTH_SIZE > len.get() {
            return Err(EINVAL);
        }
        // SAFETY: By the type invariant the inode is ours, a link with its key. The text has a NUL
        // at its end, and there are as many bytes to write to.
        to_result(unsafe {
            bindings::crypt_link(
                self.as_ptr(),
                text.as_ptr().cast(),
                target.len() as u32,
                out.as_mut_ptr(),
                out.len() as u32,
            )
        })?;
        out.truncate(len.get());
        Ok(out)
    }
}

/// Bytes of the length before the target.
const LENGTH_SIZE: usize = 2;
/// The shortest target with its length: one block of the cipher.
const MIN_LEN: usize = LENGTH_SIZE + 16;

/// What `get_link` gives of an encrypted link: the target, or without the key a text made of what
/// the disk holds of it. Sleeps.
///
/// # Safety
///
/// `done` is for one call, which runs when nobody uses the text any more.
pub(in crate::vfs) unsafe fn get_link<F: FileSystem>(
    inode: &Inode<F>,
    disk: &[u8],
    done: *mut bindings::delayed_call,
) -> Result<*const c_char> {
    if !inode.is_symlink() || !inode.is_encrypted() {
        return Err(EINVAL);
    }
    let len = u32::try_from(disk.len()).map_err(|_| EUCLEAN)?;
    // SAFETY: By the type invariant of `Inode`, and the caller; as many bytes.
    let text =
        unsafe { bindings::fscrypt_get_symlink(inode.as_ptr(), disk.as_ptr().cast(), len, done) };
    from_err_ptr(text.cast_mut()).map(|text| text.cast_const())
}

/// Has `stat` show the length of what [`get_link`] gives.
///
/// # Safety
///
/// `path` names an encrypted link with `get_link`, and the caller holds it; `stat` is this
/// thread's.
pub(in crate::vfs) unsafe fn symlink_size(
    path: *const bindings::path,
    stat: *mut bindings::kstat,
) -> Result {
    // SAFETY: By the caller.
    to_result(unsafe { bindings::fscrypt_symlink_getattr(path, stat) })
}
