// SPDX-License-Identifier: GPL-2.0

//! Safe abstractions over the kernel's file system interfaces.
//!
//! Knows nothing of ext4. All `unsafe` of the project is below this folder, one file per C
//! header it wraps. The rules that make it sound:
//!
//! - Bytes of the page cache and of buffer heads may change under our feet (other CPUs, user
//!   mappings, the disk): they are copied in and out, never lent as `&[u8]`.
//! - Every object that a callback hands out is a reference bound to that callback. What owns a C
//!   count of an inode ([`InodeRef`]) borrows the super block all the same, for the count does not
//!   keep that: an inode in use is no reason for unmount to wait.
//! - Locks and freeze levels are guards. What may not sleep or change threads is not `Send`.

mod bindings;

pub(crate) mod acl;
pub(crate) mod address_space;
pub(crate) mod atomic;
pub(crate) mod bh;
pub(crate) mod blk_crypto;
pub(crate) mod blkdev;
pub(crate) mod counter;
#[cfg(REXT4_COVERAGE)]
pub(crate) mod coverage;
pub(crate) mod crc;
pub(crate) mod cred;
pub(crate) mod dax;
pub(crate) mod dentry;
pub(crate) mod dio;
pub(crate) mod dir;
pub(crate) mod export;
pub(crate) mod file;
pub(crate) mod fileattr;
#[allow(dead_code, reason = "for file systems that iomap cannot read")]
pub(crate) mod fill;
pub(crate) mod folio;
pub(crate) mod fs_context;
#[cfg_attr(
    not(CONFIG_FS_ENCRYPTION),
    allow(dead_code, reason = "nobody calls the file system then")
)]
pub(crate) mod fscrypt;
pub(crate) mod fsmap;
pub(crate) mod gfp;
pub(crate) mod inode;
pub(crate) mod ioctl;
pub(crate) mod iomap;
pub(crate) mod jbd2;
pub(crate) mod kiocb;
pub(crate) mod mbcache;
mod memory;
pub(crate) mod mmap;
pub(crate) mod namei;
pub(crate) mod nofs;
pub(crate) mod once;
pub(crate) mod pagemap;
pub(crate) mod percpu_rwsem;
pub(crate) mod random;
pub(crate) mod security;
pub(crate) mod super_block;
pub(crate) mod sysfs;
#[cfg(VFS_TEST_HOOKS)]
pub(crate) mod test_hooks;
pub(crate) mod trace;
pub(crate) mod uio;
pub(crate) mod wait;
pub(crate) mod work;
pub(crate) mod writeback;
pub(crate) mod xattr;

pub(crate) use kernel::iov::{IovIterDest, IovIterSource};

pub(crate) use dentry::{Dentry, InLookup};
pub(crate) use dir::DirEmitter;
pub(crate) use file::File;
pub(crate) use inode::{HeldInode, Inode, InodeRef};
pub(crate) use kiocb::{Io, Kiocb, RequestId};
pub(crate) use super_block::SuperBlock;

/// The address of the task that runs this: tells tasks that are there from each other.
pub(crate) fn current_task() -> usize {
    kernel::task::Task::current_raw() as usize
}

/// A table that C keeps a pointer to. Compiles only if it lives for ever: a plain `&CONST`, made
/// into a raw pointer, would dangle silently if it did not.
const fn fixed<T>(table: &'static T) -> &'static T {
    table
}
