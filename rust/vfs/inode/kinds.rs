// SPDX-License-Identifier: GPL-2.0

//! What a new inode becomes: a file, a directory, a link, with the tables of its type. The file
//! system implements the operations of the types that it has.
//!
//! C headers: [`include/linux/fs.h`](srctree/include/linux/fs.h)

use super::{
    cache::with_info,
    new::{Hashed, NewInode, Ready},
    InodeOps,
    InodeTable, //
};
use crate::vfs::{
    address_space::{AddressSpaceOps, AddressSpaceTable, DaxTable},
    bindings,
    dir::{DirOps, DirTable},
    file::{FileOps, FileTable},
    fixed,
    namei::{DirInodeTable, Namei},
    super_block::FileSystem,
    writeback::{Completions, Writeback}, //
};
use core::mem::ManuallyDrop;
use kernel::prelude::*;

impl<'sb, F: FileSystem> NewInode<'sb, F, Hashed> {
    /// `EINVAL` if the mode does not say this type: to the VFS it would be one thing and to its
    /// operations another. Its key is for the type that the mode says: that stays
    /// ([`NewInode::set_mode`]).
    fn must_be(&self, ty: u32) -> Result {
        if u32::from(self.mode()) & bindings::S_IFMT == ty {
            Ok(())
        } else {
            Err(EINVAL)
        }
    }

    /// Makes it a regular file.
    pub(crate) fn regular(self) -> Result<NewInode<'sb, F, Ready>>
    where
        F: FileOps + AddressSpaceOps + InodeOps,
    {
        let p = self.as_ptr();
        // SAFETY: By the type invariant the inode is ours. The queue goes with the super block's
        // data, when all inodes have been evicted.
        unsafe {
            if F::Writeback::HAS_COMPLETE {
                let completions = &raw mut (*with_info::<F>(p)).completions;
                Completions::init::<F::Writeback>(completions.cast(), self.sb().queue());
            }
            if F::HAS_MAY_RELEASE {
                bindings::mapping_set_release_always((*p).i_mapping);
            }
            // Encrypted when the device gets it, and Adiantum reads it twice: of a page that
            // changes in between other bytes are lost, too.
            if (*p).i_flags & bindings::S_ENCRYPTED != 0 {
                bindings::mapping_set_stable_writes((*p).i_mapping);
            }
            if F::HAS_MAX_FOLIO_ORDER {
                bindings::mapping_set_max_folio_order(
                    (*p).i_mapping,
                    F::max_folio_order(bindings::PMD_ORDER),
                );
            }
        }
        self.make_regular(fixed(&AddressSpaceTable::<F>::TABLE))
    }

    /// Makes it a regular file with these operations on its page cache, which are `F`'s.
    pub(in crate::vfs) fn make_regular(
        self,
        pages: &'static bindings::address_space_operations,
    ) -> Result<NewInode<'sb, F, Ready>>
    where
        F: FileOps + InodeOps,
    {
        self.must_be(bindings::S_IFREG)?;
        let p = self.as_ptr();
        // SAFETY: By the type invariant the inode is ours, and it has no operations yet. The tables
        // are static and made for `F`.
        unsafe {
            (*p).i_op = fixed(&InodeTable::<F>::REGULAR);
            (*p).__bindgen_anon_3.i_fop = fixed(&FileTable::<F>::FILE);
            (*(*p).i_mapping).a_ops = pages;
        }
        // INVARIANT: It has its operations.
        Ok(self.into_stage())
    }

    /// Makes it a regular file that is accessed directly. `EOPNOTSUPP` where that cannot be
    /// ([`SuperBlock::can_dax`]).
    pub(crate) fn dax(self) -> Result<NewInode<'sb, F, Ready>>
    where
        F: FileOps + AddressSpaceOps + InodeOps,
    {
        if !F::HAS_DAX_FAULT || !self.sb().can_dax() {
            return Err(EOPNOTSUPP);
        }
        let inode = self.as_ptr();
        let new = self.make_regular(fixed(&DaxTable::<F>::TABLE))?;
        // SAFETY: By its type invariant the inode is ours.
        unsafe { bindings::set_dax(inode) };
        Ok(new)
    }

    /// Makes it a directory.
    pub(crate) fn directory(self) -> Result<NewInode<'sb, F, Ready>>
    where
        F: Namei + DirOps + InodeOps,
    {
        self.must_be(bindings::S_IFDIR)?;
        let p = self.as_ptr();
        // SAFETY: As in `make_regular`.
        unsafe {
            (*p).i_op = fixed(&DirInodeTable::<F>::TABLE);
            (*p).__bindgen_anon_3.i_fop = fixed(&DirTable::<F>::TABLE);
        }
        Ok(self.into_stage())
    }

    /// Makes it a symbolic link, whose target [`InodeOps::read_link`] reads.
    pub(crate) fn symlink(self) -> Result<NewInode<'sb, F, Ready>>
    where
        F: InodeOps,
    {
        self.must_be(bindings::S_IFLNK)?;
        // SAFETY: As in `make_regular`.
        unsafe { (*self.as_ptr()).i_op = fixed(&InodeTable::<F>::SYMLINK) };
        Ok(self.into_stage())
    }

    /// Makes it a symbolic link whose target is encrypted, as [`InodeOps::read_link`] reads it.
    pub(crate) fn encrypted_symlink(self) -> Result<NewInode<'sb, F, Ready>>
    where
        F: InodeOps,
    {
        self.must_be(bindings::S_IFLNK)?;
        if !self.is_encrypted() {
            return Err(EINVAL);
        }
        // SAFETY: As in `make_regular`.
        unsafe { (*self.as_ptr()).i_op = fixed(&InodeTable::<F>::ENCRYPTED_SYMLINK) };
        Ok(self.into_stage())
    }

    /// Makes it a symbolic link to `target`, which lives in memory with the inode. `ENOMEM`.
    pub(crate) fn fast_symlink(self, target: &[u8]) -> Result<NewInode<'sb, F, Ready>>
    where
        F: InodeOps,
    {
        self.must_be(bindings::S_IFLNK)?;
        let text = CString::from_bytes(target)?;
        let p = self.as_ptr();
        // SAFETY: As in `make_regular`.
        unsafe {
            (*p).__bindgen_anon_5.i_link = text.into_raw();
            (*p).i_op = fixed(&InodeTable::<F>::FAST_SYMLINK);
        }
        Ok(self.into_stage())
    }

    /// Makes it a device node, pipe or socket. `rdev`: the device, in the kernel's encoding.
    pub(crate) fn special(self, rdev: u32) -> Result<NewInode<'sb, F, Ready>>
    where
        F: InodeOps,
    {
        let mode = self.mode();
        match u32::from(mode) & bindings::S_IFMT {
            bindings::S_IFREG | bindings::S_IFDIR | bindings::S_IFLNK => return Err(EINVAL),
            _ => (),
        }
        let p = self.as_ptr();
        // SAFETY: As in `make_regular`.
        unsafe {
            (*p).i_op = fixed(&InodeTable::<F>::SPECIAL);
            bindings::init_special_inode(p, mode, rdev);
        }
        Ok(self.into_stage())
    }
}

/// A NUL-terminated copy of a link target, allocated by kmalloc as `i_link` wants it.
struct CString(KVec<u8>);

impl CString {
    fn from_bytes(bytes: &[u8]) -> Result<Self> {
        let mut v = KVec::with_capacity(bytes.len() + 1, GFP_KERNEL)?;
        v.extend_from_slice(bytes, GFP_KERNEL)?;
        v.push(0, GFP_KERNEL)?;
        Ok(Self(v))
    }

    fn into_raw(self) -> *mut c_char {
        ManuallyDrop::new(self.0).as_mut_ptr().cast()
    }
}
