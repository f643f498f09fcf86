// SPDX-License-Identifier: GPL-2.0

//! File handles: how NFS, `open_by_handle_at(2)` and fanotify name an inode without a path.
//!
//! A handle is the number of an inode and its generation, and those of a directory that names it if
//! it is to be connectable (`generic_encode_ino32_fh`). It outlives the file, and comes from
//! outside.
//!
//! An inode that is found by its handle has a dentry without a name, which is not connected to the
//! root. Files stay so. A directory is connected before it is used, by its parents
//! ([`Export::parent`]) and their entries: the lookup of its name puts the dentry where it belongs
//! (`d_splice_alias`).
//!
//! C headers: [`include/linux/exportfs.h`](srctree/include/linux/exportfs.h)

use super::{
    bindings,
    inode::{Inode, InodeRef},
    super_block::{FileSystem, SuperBlock}, //
};
use core::{marker::PhantomData, mem, ptr};
use kernel::{error::from_result, prelude::*};

/// What a file system provides so that its inodes have handles. Every method may sleep; no lock is
/// held and no handle of a journal.
pub(crate) trait Export: FileSystem {
    /// The inode of number `ino` and this generation, both of which anybody may have thought up.
    /// Any error but `ENOMEM` tells the caller that the handle is stale.
    fn by_handle(sb: &SuperBlock<Self>, ino: u64, generation: u32) -> Result<InodeRef<'_, Self>>;

    /// The directory that `dir` is in. `dir` may have been removed.
    fn parent(dir: &Inode<Self>) -> Result<InodeRef<'_, Self>>;

    /// Makes what was done to the inode durable, its entries if it is a directory: NFS answers its
    /// client after that. Not the content of a file.
    fn commit_metadata(inode: &Inode<Self>) -> Result;
}

pub(super) struct ExportTable<F>(PhantomData<F>);

impl<F: Export> ExportTable<F> {
    pub(super) const TABLE: bindings::export_operations = bindings::export_operations {
        encode_fh: Some(bindings::generic_encode_ino32_fh),
        fh_to_dentry: Some(Self::fh_to_dentry),
        fh_to_parent: Some(Self::fh_to_parent),
        get_parent: Some(Self::get_parent),
        commit_metadata: Some(Self::commit_metadata),
        // SAFETY: All other members are nullable pointers and flags.
        ..unsafe { mem::zeroed() }
    };

    /// Hands an inode of `sb` over to C, with its count, or an error.
    fn give(sb: &SuperBlock<F>, inode: Result<InodeRef<'_, F>>) -> *mut bindings::inode {
        match inode {
            // C would give it a dentry of the other tree.
            Ok(inode) if !ptr::eq(inode.sb(), sb) => EXDEV.to_ptr(),
            Ok(inode) => inode.into_raw(),
            Err(e) => e.to_ptr(),
        }
    }

    /// # Safety
    ///
    /// `sb` is a mounted super block of `F` and stays so during the call.
    unsafe extern "C" fn by_handle(
        sb: *mut bindings::super_block,
        ino: u64,
        generation: u32,
    ) -> *mut bindings::inode {
        // SAFETY: By the caller.
        let sb = unsafe { SuperBlock::<F>::from_raw(sb) };
        Self::give(sb, F::by_handle(sb, ino, generation))
    }

    /// # Safety
    ///
    /// `sb` is a mounted super block of `F` and stays so during the call; `fid` has `len` words
    /// (exportfs_decode_fh_raw()).
    unsafe extern "C" fn fh_to_dentry(
        sb: *mut bindings::super_block,
        fid: *mut bindings::fid,
        len: c_int,
        kind: c_int,
    ) -> *mut bindings::dentry {
        // SAFETY: By the caller; no more than `len` words are read. the count of the inode goes to
        // its dentry.
        unsafe { bindings::generic_fh_to_dentry(sb, fid, len, kind, Some(Self::by_handle)) }
    }

    /// # Safety
    ///
    /// As for [`Self::fh_to_dentry`].
    unsafe extern "C" fn fh_to_parent(
        sb: *mut bindings::super_block,
        fid: *mut bindings::fid,
        len: c_int,
        kind: c_int,
    ) -> *mut bindings::dentry {
        // SAFETY: As in `fh_to_dentry`.
        unsafe { bindings::generic_fh_to_parent(sb, fid, len, kind, Some(Self::by_handle)) }
    }

    /// # Safety
    ///
    /// `child` is a dentry of a directory of `F`, and the caller holds it.
    unsafe extern "C" fn get_parent(child: *mut bindings::dentry) -> *mut bindings::dentry {
        // SAFETY: By the caller.
        let dir = unsafe { Inode::<F>::from_raw((*child).d_inode) };
        let inode = Self::give(dir.sb(), F::parent(dir));
        // SAFETY: Takes the count of the inode over, or passes the error on.
        unsafe { bindings::d_obtain_alias(inode) }
    }

    /// # Safety
    ///
    /// `inode` is one of `F`, and the caller holds it.
    unsafe extern "C" fn commit_metadata(inode: *mut bindings::inode) -> c_int {
        // SAFETY: By the caller.
        from_result(|| F::commit_metadata(unsafe { Inode::from_raw(inode) }).map(|()| 0))
    }
}
