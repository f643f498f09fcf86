// SPDX-License-Identifier: GPL-2.0

//! The table of super operations.
//!
//! C header: [`include/linux/fs/super_types.h`](srctree/include/linux/fs/super_types.h)

use super::{FileSystem, SuperBlock};
use crate::vfs::{
    bindings,
    inode::{self, Evicted, Inode},
    writeback::WritebackControl, //
};
use core::{marker::PhantomData, mem};
use kernel::{error::from_result, prelude::*, seq_file::SeqFile};

pub(super) struct SuperTable<F>(PhantomData<F>);

impl<F: FileSystem> SuperTable<F> {
    pub(super) const TABLE: bindings::super_operations = bindings::super_operations {
        alloc_inode: Some(inode::alloc_inode_callback::<F>),
        destroy_inode: Some(inode::destroy_inode_callback::<F>),
        free_inode: Some(inode::free_inode_callback::<F>),
        dirty_inode: if F::HAS_DIRTY_INODE {
            Some(Self::dirty_inode)
        } else {
            None
        },
        write_inode: if F::HAS_WRITE_INODE {
            Some(Self::write_inode)
        } else {
            None
        },
        drop_inode: Some(bindings::crypt_drop_inode),
        evict_inode: Some(Self::evict_inode),
        put_super: Some(Self::put_super),
        sync_fs: if F::HAS_SYNC {
            Some(Self::sync_fs)
        } else {
            None
        },
        freeze_fs: if F::HAS_FREEZE {
            Some(Self::freeze_fs)
        } else {
            None
        },
        unfreeze_fs: if F::HAS_UNFREEZE {
            Some(Self::unfreeze_fs)
        } else {
            None
        },
        shutdown: if F::HAS_SHUTDOWN {
            Some(Self::shutdown)
        } else {
            None
        },
        statfs: if F::HAS_STATFS {
            Some(Self::statfs)
        } else {
            None
        },
        show_options: if F::HAS_SHOW_OPTIONS {
            Some(Self::show_options)
        } else {
            None
        },
        // SAFETY: All other members are nullable pointers.
        ..unsafe { mem::zeroed() }
    };

    /// # Safety
    ///
    /// `inode` is one of `F`, of a mounted super block, and the caller holds it.
    unsafe extern "C" fn dirty_inode(inode: *mut bindings::inode, _flags: c_int) {
        // SAFETY: By the caller.
        F::dirty_inode(unsafe { Inode::from_raw(inode) });
    }

    /// # Safety
    ///
    /// As for [`Self::dirty_inode`]; `wbc` is this thread's.
    unsafe extern "C" fn write_inode(
        inode: *mut bindings::inode,
        wbc: *mut bindings::writeback_control,
    ) -> c_int {
        // SAFETY: By the caller.
        let control = WritebackControl(unsafe { &*wbc });
        from_result(|| {
            // SAFETY: By the caller.
            F::write_inode(unsafe { Inode::from_raw(inode) }, &control).map(|()| 0)
        })
    }

    /// # Safety
    ///
    /// `inode` is one of `F` without references, in state `I_FREEING` (evict()).
    unsafe extern "C" fn evict_inode(inode: *mut bindings::inode) {
        // SAFETY: By the caller nobody else maps its pages any more. This also waits for writeback,
        // thus for every completion that still names the inode. Before, of a file that is accessed
        // directly, for every device that has a page of its memory pinned (dax.rs).
        unsafe {
            bindings::dax_break_final(inode);
            bindings::truncate_inode_pages_final(&raw mut (*inode).i_data);
        }
        // SAFETY: By the caller it is valid, only its reference count is zero. A bad inode (a
        // failed iget) has nothing on disk that belongs to it.
        if !unsafe { bindings::is_bad_inode(inode) } {
            // SAFETY: As above.
            F::evict(&unsafe { Evicted::from_raw(inode) });
        }
        // SAFETY: Page cache and private data are gone, as `clear_inode` asks. Nobody needs the key
        // any more: what is on its way to the disk was waited for.
        unsafe {
            bindings::clear_inode(inode);
            bindings::crypt_end_inode(inode);
        }
    }

    /// # Safety
    ///
    /// `sb` is a super block of `F` that was mounted, and its inodes are evicted; s_umount is held
    /// exclusive (generic_shutdown_super()).
    unsafe extern "C" fn put_super(sb: *mut bindings::super_block) {
        // SAFETY: By the caller. The data is attached until `kill_sb`; all inodes but the journal's
        // are gone, so no operation runs.
        unsafe { SuperBlock::<F>::from_raw(sb).shut_down() }
    }

    /// # Safety
    ///
    /// `sb` is a mounted super block of `F`; s_umount is held.
    unsafe extern "C" fn sync_fs(sb: *mut bindings::super_block, wait: c_int) -> c_int {
        // SAFETY: By the caller.
        from_result(|| F::sync(unsafe { SuperBlock::from_raw(sb) }, wait != 0).map(|()| 0))
    }

    /// # Safety
    ///
    /// As for [`Self::sync_fs`], and no writer is left (freeze_super()).
    unsafe extern "C" fn freeze_fs(sb: *mut bindings::super_block) -> c_int {
        // SAFETY: By the caller.
        from_result(|| F::freeze(unsafe { SuperBlock::from_raw(sb) }).map(|()| 0))
    }

    /// # Safety
    ///
    /// As for [`Self::sync_fs`]; [`Self::freeze_fs`] came before.
    unsafe extern "C" fn unfreeze_fs(sb: *mut bindings::super_block) -> c_int {
        // SAFETY: By the caller.
        from_result(|| F::unfreeze(unsafe { SuperBlock::from_raw(sb) }).map(|()| 0))
    }

    /// # Safety
    ///
    /// As for [`Self::sync_fs`] (fs_bdev_mark_dead()).
    unsafe extern "C" fn shutdown(sb: *mut bindings::super_block) {
        // SAFETY: By the caller.
        F::shutdown(unsafe { SuperBlock::from_raw(sb) });
    }

    /// # Safety
    ///
    /// `dentry` is of a mounted super block of `F`, and the caller holds it; `buf` is this
    /// thread's.
    unsafe extern "C" fn statfs(
        dentry: *mut bindings::dentry,
        buf: *mut kernel::bindings::kstatfs,
    ) -> c_int {
        from_result(|| {
            // SAFETY: By the caller.
            let stat = F::statfs(unsafe { SuperBlock::from_raw((*dentry).d_sb) })?;
            // SAFETY: By the caller.
            let buf = unsafe { &mut *buf.cast::<bindings::kstatfs>() };
            buf.f_type = stat.magic as isize;
            buf.f_bsize = stat.block_size as isize;
            buf.f_blocks = stat.blocks;
            buf.f_bfree = stat.blocks_free;
            buf.f_bavail = stat.blocks_available;
            buf.f_files = stat.files;
            buf.f_ffree = stat.files_free;
            buf.f_namelen = stat.name_len as isize;
            buf.f_fsid.val = [stat.fsid as i32, (stat.fsid >> 32) as i32];
            Ok(0)
        })
    }

    /// # Safety
    ///
    /// `dentry` is of a mounted super block of `F`, which stays so during the call; `seq` is this
    /// thread's.
    unsafe extern "C" fn show_options(
        seq: *mut bindings::seq_file,
        dentry: *mut bindings::dentry,
    ) -> c_int {
        // SAFETY: By the caller.
        let sb = unsafe { SuperBlock::<F>::from_raw((*dentry).d_sb) };
        // SAFETY: By the caller.
        sb.data().show_options(unsafe { SeqFile::from_raw(seq) });
        0
    }
}
