// SPDX-License-Identifier: GPL-2.0

//! Encryption of files, names and targets: what fs/crypto asks of a file system, and what it does
//! for one. Names: [`name`]. Targets of symbolic links: [`link`]. What programs ask for: [`ioctl`].
//!
//! It keeps the key of an inode in memory that belongs to the inode. Who sets one up reads the
//! inode's context, and allocates: not in a handle of a journal.
//!
//! C headers: [`include/linux/fscrypt.h`](srctree/include/linux/fscrypt.h)

mod ioctl;
mod link;
mod name;
#[cfg(CONFIG_FS_ENCRYPTION)]
mod table;

pub(super) use ioctl::ioctl;
pub(crate) use link::LinkLen;
pub(super) use link::{get_link, symlink_size};
pub(crate) use name::{DiskName, ShownNames};

use super::{
    bindings,
    inode::{Fresh, Hashed, Inode, InodeLock, NewInode},
    super_block::{FileSystem, NewSuper, Remount, SuperBlock},
    xattr::Value, //
};
use core::ptr::{self, NonNull};
use kernel::{
    error::{from_err_ptr, to_result},
    prelude::*,
    str::CStr, //
};

/// Whether the kernel can encrypt.
pub(crate) const AVAILABLE: bool = cfg!(CONFIG_FS_ENCRYPTION);

/// What a file system provides so that its inodes can be encrypted. One whose inode
/// numbers do not fit in 32 bits cannot have it.
///
/// No handle of a journal is held.
pub(crate) trait CryptOps: FileSystem {
    /// Where keys of policies of version 1 are looked for in the keyrings of a process, beside
    /// `fscrypt:`.
    const KEY_PREFIX: &'static CStr;

    /// Copies out what says how an inode is encrypted ([`Value::put`]). `ENODATA` if nothing does,
    /// `ERANGE` if that is too long.
    fn get_context(inode: &Inode<Self>, out: &mut Value<'_>) -> Result;

    /// Encrypts an empty directory from now on: keeps the context, and sets
    /// [`InodeFlags::encrypted`](super::inode::InodeFlags). The mount stays writable meanwhile.
    fn set_context(lock: &InodeLock<'_, Self>, context: &[u8]) -> Result;

    /// Whether a directory has no names. Its i_rwsem is held.
    fn is_empty_dir(dir: &Inode<Self>) -> bool;

    /// Whether inode numbers and the UUID stay for ever.
    fn has_stable_inodes(sb: &SuperBlock<Self>) -> bool;

    /// With what is encrypted that is made where nothing is: for tests.
    fn dummy_policy(sb: &SuperBlock<Self>) -> Option<&DummyPolicy>;
}

impl<F: CryptOps> NewSuper<'_, F> {
    /// Lets its inodes be encrypted. `EOPNOTSUPP` where the kernel cannot ([`AVAILABLE`]).
    pub(crate) fn set_crypt(&self) -> Result {
        #[cfg(CONFIG_FS_ENCRYPTION)]
        {
            let table = super::fixed(&table::CryptTable::<F>::TABLE);
            // SAFETY: By the type invariant; no name is in memory yet. The table is static and made
            // for `F`.
            unsafe { bindings::set_crypt(self.as_ptr(), ptr::from_ref(table).cast()) };
        }
        if AVAILABLE {
            Ok(())
        } else {
            Err(EOPNOTSUPP)
        }
    }
}

impl<F: FileSystem> NewSuper<'_, F> {
    /// Sets whether the device may encrypt what files hold, if it can, or always software does.
    pub(crate) fn set_crypt_by_device(&self, on: bool) {
        // SAFETY: By the type invariant.
        unsafe { set_flag(self.as_ptr(), on) }
    }
}

impl<F: FileSystem> Remount<'_, F> {
    /// As [`NewSuper::set_crypt_by_device`], for keys that are set up from now on.
    pub(crate) fn set_crypt_by_device(&self, on: bool) {
        // SAFETY: By the type invariant s_umount is held exclusive.
        unsafe { set_flag(self.sb().as_ptr(), on) }
    }
}

/// # Safety
///
/// `sb` is being filled by this thread, or s_umount is held exclusive.
unsafe fn set_flag(sb: *mut bindings::super_block, on: bool) {
    // SAFETY: By the caller nobody else changes the flags. They are read without a lock.
    unsafe {
        let flags = &raw mut (*sb).s_flags;
        let bit = bindings::SB_INLINECRYPT as usize;
        let old = flags.read_volatile();
        flags.write_volatile(if on { old | bit } else { old & !bit });
    }
}

impl<F: FileSystem> SuperBlock<F> {
    /// Whether its inodes can be encrypted ([`NewSuper::set_crypt`]).
    pub(crate) fn has_crypt(&self) -> bool {
        // SAFETY: By the type invariant; set before the super block is in use.
        unsafe { bindings::has_crypt(self.as_ptr()) }
    }
}

impl<F: FileSystem> Inode<F> {
    /// Whether it is encrypted.
    pub(crate) fn is_encrypted(&self) -> bool {
        // SAFETY: By the type invariant. Other flags may change meanwhile.
        let flags = unsafe { (&raw const (*self.as_ptr()).i_flags).read_volatile() };
        flags & bindings::S_ENCRYPTED != 0
    }

    /// Whether what is found in this directory, which is of the same super block, may be there:
    /// directories and links have the policy of the directory. (Files are looked at when they are
    /// opened.) Not in a handle.
    pub(super) fn may_find(&self, found: &Self) -> bool {
        // SAFETY: By the type invariants of both.
        unsafe { bindings::crypt_may_find(self.as_ptr(), found.as_ptr()) }
    }

    /// Whether its key is set up. Once it is it stays, as long as somebody has the inode.
    pub(crate) fn has_crypt_key(&self) -> bool {
        // SAFETY: By the type invariant.
        unsafe { bindings::has_crypt_key(self.as_ptr()) }
    }
}

/// The longest [`Context`], in bytes.
const CONTEXT_MAX: usize = bindings::FSCRYPT_SET_CONTEXT_MAX_SIZE as usize;

/// What says how a new inode is encrypted.
pub(crate) struct Context {
    bytes: [u8; CONTEXT_MAX],
    len: usize,
}

impl Context {
    /// To be kept with the inode.
    pub(crate) fn bytes(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or(&[])
    }
}

impl<F: FileSystem> NewInode<'_, F, Fresh> {
    /// Sets up the key of an inode of this mode that is to be made in `dir`, if it is going to be
    /// encrypted. `ENOKEY` if `dir` is, and its key is not there. Once: the first key stays.
    pub(crate) fn prepare_crypt(&mut self, dir: &Inode<F>, mode: u16) -> Result {
        if !ptr::eq(self.sb(), dir.sb()) {
            return Err(EXDEV);
        }
        if self.has_crypt_key() {
            return Err(EINVAL);
        }
        // It stays the type of the inode once the key is there.
        self.set_mode(mode);
        let mut encrypted = false;
        // SAFETY: By the type invariants, and of one super block. The new one is ours, and has its
        // mode.
        to_result(unsafe { bindings::crypt_new_inode(dir.as_ptr(), self.as_ptr(), &mut encrypted) })
    }
}

impl<F: FileSystem> NewInode<'_, F, Hashed> {
    /// The context of an inode that has been prepared, if it is to be encrypted. It has its number,
    /// which the key may depend on. Does not sleep but for memory.
    pub(crate) fn crypt_context(&self) -> Result<Option<Context>> {
        if !self.has_crypt_key() {
            return Ok(None);
        }
        let mut context = Context {
            bytes: [0; CONTEXT_MAX],
            len: 0,
        };
        // SAFETY: By the type invariant. It has its key, and the callback of the table takes the
        // pointer for what it is.
        to_result(unsafe {
            bindings::fscrypt_set_context(self.as_ptr(), (&raw mut context).cast())
        })?;
        Ok(Some(context))
    }
}

/// Which policy [`CryptOps::dummy_policy`] is, by its version.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum DummyVersion {
    /// With a key from the keyrings of the process.
    V1,
    /// With a key that all know.
    V2,
}

impl DummyVersion {
    /// As the mount option of all file systems has it.
    pub(crate) const fn name(self) -> &'static CStr {
        match self {
            Self::V1 => c"v1",
            Self::V2 => c"v2",
        }
    }
}

/// A policy that is for tests only.
///
/// # Invariants
///
/// The pointer is to a `union fscrypt_policy` of kmalloc's that is ours.
pub(crate) struct DummyPolicy(NonNull<c_void>);

// SAFETY: It does not change.
unsafe impl Send for DummyPolicy {}
// SAFETY: As above.
unsafe impl Sync for DummyPolicy {}

impl DummyPolicy {
    /// `ENOMEM`; `EOPNOTSUPP` where the kernel cannot encrypt.
    pub(crate) fn new(version: DummyVersion) -> Result<Self> {
        // SAFETY: The name is NUL-terminated.
        let policy = unsafe { bindings::new_dummy_policy(version.name().as_char_ptr()) };
        let policy = from_err_ptr(policy.cast_mut())?;
        // INVARIANT: The function gives it to us.
        NonNull::new(policy).map(Self).ok_or(ENOMEM)
    }

    #[cfg(CONFIG_FS_ENCRYPTION)]
    fn as_ptr(&self) -> *const c_void {
        self.0.as_ptr()
    }
}

impl Drop for DummyPolicy {
    fn drop(&mut self) {
        // SAFETY: By the type invariant. All inodes that were made by it are gone.
        unsafe { bindings::kfree(self.0.as_ptr()) }
    }
}
