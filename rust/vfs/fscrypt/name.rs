// SPDX-License-Identifier: GPL-2.0

//! Names, as directories hold them and as programs see them.
//!
//! In a directory that is encrypted an entry holds what a name is encrypted to. Without its key a
//! program sees a text made of that, of the hash that the directory's index has for it, and if it
//! is long of a digest in place of its end: by such a text it can be looked up and removed.
//!
//! C header: [`include/linux/fscrypt.h`](srctree/include/linux/fscrypt.h)

use crate::vfs::{bindings, inode::Inode, super_block::FileSystem, Dentry, InLookup};
use core::{marker::PhantomData, mem, ptr, slice};
use kernel::{error::to_result, prelude::*};

/// A name to look for in a directory, or to put there.
///
/// # Invariants
///
/// `disk_name` is null, or `len` bytes that do not change for `'a` or belong to the name. Null it
/// is only if the name is a digest, which belongs to it.
pub(crate) struct DiskName<'a>(bindings::fscrypt_name, PhantomData<&'a [u8]>);

impl<'a> DiskName<'a> {
    const fn none() -> bindings::fscrypt_name {
        // SAFETY: Numbers and nullable pointers.
        unsafe { mem::zeroed() }
    }

    /// `ENOTDIR` if it is not a directory: the key of another inode is not for names.
    fn check_dir<F: FileSystem>(dir: &Inode<F>) -> Result {
        if dir.is_dir() {
            Ok(())
        } else {
            Err(ENOTDIR)
        }
    }

    fn new<F: FileSystem>(
        dir: &Inode<F>,
        dentry: &'a Dentry<F>,
        lookup: bool,
    ) -> Result<DiskName<'a>> {
        Self::check_dir(dir)?;
        let mut name = Self::none();
        // SAFETY: By the type invariants; the name of the dentry is stable, and kept for `'a`.
        to_result(unsafe {
            bindings::crypt_name(dir.as_ptr(), dentry.as_ptr(), lookup, &mut name)
        })?;
        // INVARIANT: As the function leaves it.
        Ok(Self(name, PhantomData))
    }

    /// The name of `dentry`, for who looks it up in `dir`. `None` if it is none that can be there.
    /// Notes in the dentry whether it was looked up without the key, which makes it void once that
    /// is there.
    pub(crate) fn to_look_up<F: FileSystem>(
        dir: &Inode<F>,
        dentry: &'a InLookup<F>,
    ) -> Result<Option<DiskName<'a>>> {
        Self::check_dir(dir)?;
        let mut name = Self::none();
        // SAFETY: As in `new`.
        let prepared = to_result(unsafe {
            bindings::fscrypt_prepare_lookup(dir.as_ptr(), dentry.as_ptr(), &mut name)
        });
        match prepared {
            Ok(()) => {
                // INVARIANT: As the function leaves it.
                let name = Self(name, PhantomData);
                Ok(name.can_be_in(dir).then_some(name))
            }
            Err(e) if e == ENOENT => Ok(None),
            Err(e) => Err(e),
        }
    }

    /// For who removes the name, which needs no key.
    pub(crate) fn to_remove<F: FileSystem>(
        dir: &Inode<F>,
        dentry: &'a Dentry<F>,
    ) -> Result<DiskName<'a>> {
        let name = Self::new(dir, dentry, true)?;
        if name.can_be_in(dir) {
            Ok(name)
        } else {
            Err(ENOENT)
        }
    }

    /// Whether an entry of the directory may hold it. Without the key a program says what the entry
    /// is to hold, be it "." or "..", which are never encrypted.
    fn can_be_in<F: FileSystem>(&self, dir: &Inode<F>) -> bool {
        let possible = MIN_LEN as usize..=NAME_MAX as usize;
        !dir.is_encrypted() || self.bytes().is_none_or(|b| possible.contains(&b.len()))
    }

    /// For who makes the name, or moves it. `ENOKEY` without the key, `ENAMETOOLONG`.
    pub(crate) fn to_make<F: FileSystem>(
        dir: &Inode<F>,
        dentry: &'a Dentry<F>,
    ) -> Result<DiskName<'a>> {
        Self::new(dir, dentry, false)
    }

    /// What the entry holds, if that is known and not a digest of it only.
    pub(crate) fn bytes(&self) -> Option<&[u8]> {
        let name = &self.0.disk_name;
        if name.name.is_null() {
            return None;
        }
        // SAFETY: By the type invariant.
        Some(unsafe { slice::from_raw_parts(name.name, name.len as usize) })
    }

    /// The hash that goes with a digest, both halves.
    pub(crate) fn hash(&self) -> (u32, u32) {
        (self.0.hash, self.0.minor_hash)
    }

    /// Whether an entry holds this name.
    pub(crate) fn matches(&self, entry: &[u8]) -> bool {
        // SAFETY: By the type invariant; as many bytes.
        unsafe { bindings::fscrypt_match_name(&self.0, entry.as_ptr(), entry.len() as u32) }
    }
}

impl Drop for DiskName<'_> {
    fn drop(&mut self) {
        // SAFETY: By the type invariant; what belongs to the name goes with it.
        unsafe { bindings::fscrypt_free_filename(&mut self.0) }
    }
}

/// How programs see the names of a directory.
///
/// # Invariants
///
/// The buffer is empty, or one for all names of the directory, which then is encrypted.
pub(crate) struct ShownNames<'a, F: FileSystem> {
    dir: &'a Inode<F>,
    buffer: bindings::fscrypt_str,
    /// What is to be decrypted, in memory that ciphers can take: not of vmalloc, no stack.
    entry: KVec<u8>,
}

/// The longest name in bytes.
const NAME_MAX: u32 = 255;

/// The shortest that is encrypted (`FSCRYPT_FNAME_MIN_MSG_LEN`).
const MIN_LEN: u32 = 16;

impl<'a, F: FileSystem> ShownNames<'a, F> {
    /// Sets up the key, if it can be had.
    pub(crate) fn new(dir: &'a Inode<F>) -> Result<Self> {
        DiskName::check_dir(dir)?;
        let mut buffer = bindings::fscrypt_str {
            name: ptr::null_mut(),
            len: 0,
        };
        if dir.is_encrypted() {
            // SAFETY: By the type invariant of `Inode`; the pointer is valid.
            unsafe {
                to_result(bindings::fscrypt_prepare_readdir(dir.as_ptr()))?;
                to_result(bindings::fscrypt_fname_alloc_buffer(NAME_MAX, &mut buffer))?;
            }
        }
        // INVARIANT: As the functions leave it.
        let mut shown = Self {
            dir,
            buffer,
            entry: KVec::new(),
        };
        if dir.is_encrypted() {
            shown.entry.reserve(NAME_MAX as usize, GFP_KERNEL)?;
        }
        Ok(shown)
    }

    /// The directory.
    pub(crate) fn dir(&self) -> &'a Inode<F> {
        self.dir
    }

    /// What programs see of a name; `hash` is that of the index. `EUCLEAN` if that cannot be a name
    /// that is encrypted.
    pub(crate) fn show<'n>(&'n mut self, hash: (u32, u32), name: &'n [u8]) -> Result<&'n [u8]> {
        if self.buffer.name.is_null() {
            return Ok(name);
        }
        if name.len() > NAME_MAX as usize {
            return Err(EUCLEAN);
        }
        self.entry.clear();
        self.entry.extend_from_slice(name, GFP_KERNEL)?;
        let disk = bindings::fscrypt_str {
            name: self.entry.as_mut_ptr(),
            len: name.len() as u32,
        };
        // The length is the buffer's before, and the text's after.
        let mut shown = bindings::fscrypt_str {
            name: self.buffer.name,
            len: self.buffer.len,
        };
        // SAFETY: By the type invariants; the name is looked at only, no longer than the buffer
        // is for, and in memory of kmalloc.
        unsafe {
            to_result(bindings::fscrypt_fname_disk_to_usr(
                self.dir.as_ptr(),
                hash.0,
                hash.1,
                &disk,
                &mut shown,
            ))?;
            Ok(slice::from_raw_parts(shown.name, shown.len as usize))
        }
    }
}

impl<F: FileSystem> Drop for ShownNames<'_, F> {
    fn drop(&mut self) {
        // SAFETY: By the type invariant; C takes null for no buffer.
        unsafe { bindings::fscrypt_fname_free_buffer(&mut self.buffer) }
    }
}
