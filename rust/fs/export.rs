// SPDX-License-Identifier: GPL-2.0

//! From a file handle to an inode.
//!
//! A number in a directory is believed: where it leads to nothing, the disk is corrupt. One in a
//! handle is a user's. So the bitmap is asked before the inode is read: a free inode may hold
//! anything, in a group that was never used even what the device held before. A number becomes
//! taken only when nothing old is left in its place ([`alloc::inode`]), and a deleted inode has no
//! links, whatever else of it is there:
//!
//! ```text
//!   creates a file                         opens by handle
//!   --------------                         ---------------
//!   clears the inode in its table
//!   takes its number in the bitmap
//!                                          the bitmap: in use
//!                                          reads the inode: no links, stale
//!   hashes the new inode
//!   writes it
//! ```

use super::{
    alloc,
    inode, //
    InodeRef,
    Sb,
};
use crate::disk::Ino;
use kernel::prelude::*;

/// The inode that a handle names, also if it has no links and is open. `ESTALE`, without a word in
/// the log, if there is none, or it is another one by now. Generation 0 is any, for handles that
/// NFS makes up for the parent of a file.
pub(crate) fn by_handle(sb: &Sb, ino: Ino, generation: u32) -> Result<InodeRef<'_>> {
    if !sb.data().geo.inode_valid(ino) {
        return Err(ESTALE);
    }
    let inode = match sb.find_inode(ino.into()) {
        Some(inode) => inode,
        None if alloc::inode_in_use(sb, ino)? => inode::iget_by_handle(sb, ino)?,
        None => return Err(ESTALE),
    };
    if generation == 0 || generation == inode.generation() {
        Ok(inode)
    } else {
        Err(ESTALE)
    }
}
