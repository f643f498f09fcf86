// SPDX-License-Identifier: GPL-2.0

//! Inode operations of all types but directories: attributes, links, and the tables.
//!
//! C headers: [`include/linux/fs.h`](srctree/include/linux/fs.h),
//! [`include/linux/stat.h`](srctree/include/linux/stat.h)

use super::{IdMap, Inode, InodeLock, Time};
use crate::vfs::{
    acl::{self, Acl},
    bindings,
    fileattr::FileAttr,
    iomap::FiemapInfo,
    super_block::FileSystem,
    xattr::{self, NameList}, //
};
use core::{
    marker::PhantomData,
    mem,
    ops::{Deref, Range},
    ptr, //
};
use kernel::{
    build_error,
    error::{from_result, to_result, VTABLE_DEFAULT_ERROR},
    prelude::*, //
};

/// Operations on inodes of every type. One that is not implemented is not in the table: the VFS
/// sets and shows the fields of its own inode.
#[vtable]
pub(crate) trait InodeOps: FileSystem {
    /// Changes attributes of the inode that is locked.
    fn setattr(_idmap: IdMap<'_>, _lock: &InodeLock<'_, Self>, _attr: &mut Attr<'_>) -> Result {
        build_error!(VTABLE_DEFAULT_ERROR)
    }
    /// Fills what `stat` shows beyond the VFS inode.
    fn getattr(_inode: &Inode<Self>, _stat: &mut Stat<'_>) {
        build_error!(VTABLE_DEFAULT_ERROR)
    }
    /// The attributes of chattr(1) of a regular file or a directory. i_rwsem may be held.
    fn fileattr_get(_inode: &Inode<Self>, _attr: &mut FileAttr<'_>) {
        build_error!(VTABLE_DEFAULT_ERROR)
    }
    /// Sets them. The caller may do it.
    fn fileattr_set(_lock: &InodeLock<'_, Self>, _attr: &FileAttr<'_>) -> Result {
        build_error!(VTABLE_DEFAULT_ERROR)
    }
    /// Extent report of a regular file or a directory for FIEMAP; see
    /// [`fiemap`](crate::vfs::iomap::fiemap).
    fn fiemap(_inode: &Inode<Self>, _info: FiemapInfo<'_>, _bytes: Range<u64>) -> Result {
        build_error!(VTABLE_DEFAULT_ERROR)
    }
    /// The target of a symbolic link that is not in memory, without a NUL at the end. Of one that
    /// is encrypted, what the disk holds of it.
    fn read_link(_inode: &Inode<Self>) -> Result<KVec<u8>> {
        build_error!(VTABLE_DEFAULT_ERROR)
    }
    /// The names of the extended attributes that this caller may see, those of ACLs too.
    fn list_xattr(_inode: &Inode<Self>, _names: &mut NameList<'_>) -> Result {
        build_error!(VTABLE_DEFAULT_ERROR)
    }
    /// The ACL of an inode that is no symbolic link. Not asked for again once it is cached.
    fn get_acl(_inode: &Inode<Self>, _kind: acl::Kind) -> Result<Option<Acl>> {
        build_error!(VTABLE_DEFAULT_ERROR)
    }
    /// Sets the ACL of an inode that is no symbolic link, or removes it.
    fn set_acl(
        _idmap: IdMap<'_>,
        _lock: &InodeLock<'_, Self>,
        _kind: acl::Kind,
        _acl: Option<&Acl>,
    ) -> Result {
        build_error!(VTABLE_DEFAULT_ERROR)
    }
}

/// New attributes, from `struct iattr`, and the dentry they are set through. That is no [`Dentry`]:
/// its parent is not locked, so its name may change and be freed at any time.
///
/// # Invariants
///
/// The pointers are to the `iattr` of a `notify_change()` of this thread and to the dentry that it
/// was called with, whose inode is of the file system and locked.
pub(crate) struct Attr<'a>(
    *mut bindings::iattr,
    *mut bindings::dentry,
    PhantomData<&'a mut ()>,
);

impl Attr<'_> {
    fn valid(&self) -> u32 {
        // SAFETY: By the type invariant.
        unsafe { (*self.0).ia_valid }
    }

    /// The new size in bytes, if it is to change.
    pub(crate) fn size(&self) -> Option<u64> {
        // SAFETY: As above.
        (self.valid() & bindings::ATTR_SIZE != 0).then(|| unsafe { (*self.0).ia_size as u64 })
    }

    /// The new permissions, if they are to change.
    pub(crate) fn mode(&self) -> Option<u16> {
        // SAFETY: As above.
        (self.valid() & bindings::ATTR_MODE != 0).then(|| unsafe { (*self.0).ia_mode })
    }

    /// Whether mtime or ctime come with the call. Truncation sets them itself otherwise.
    pub(crate) fn sets_mtime(&self) -> bool {
        self.valid() & bindings::ATTR_MTIME != 0
    }

    /// Permission checks of the VFS, privilege bits to drop; `ENOKEY` for the size of an encrypted
    /// file whose key is not there.
    pub(crate) fn prepare(&mut self, idmap: IdMap<'_>) -> Result {
        // SAFETY: By the type invariant, also of `IdMap`; the inode of the dentry is locked.
        unsafe {
            to_result(bindings::setattr_prepare(idmap.0, self.1, self.0))?;
            to_result(bindings::fscrypt_prepare_setattr(self.1, self.0))
        }
    }

    /// Copies mode, owner and times into the inode (not the size), which is the one they are for:
    /// nothing happens to another, for the mode has the type in it.
    pub(crate) fn copy_to<F: FileSystem>(&self, idmap: IdMap<'_>, lock: &InodeLock<'_, F>) {
        // SAFETY: By the type invariant; a dentry with a locked inode keeps it.
        if unsafe { (*self.1).d_inode } != lock.0.as_ptr() {
            pr_err!("attributes are not copied to another inode\n");
            return;
        }
        // SAFETY: By the type invariant, also of `IdMap`, and of the guard. The type in the mode is
        // that of the inode, which is the one of `notify_change()`.
        unsafe { bindings::setattr_copy(idmap.0, lock.0.as_ptr(), self.0) }
    }
}

/// The answer to `stat`.
///
/// # Invariants
///
/// The pointer is to a `kstat` of this thread, valid for the lifetime.
pub(crate) struct Stat<'a> {
    stat: *mut bindings::kstat,
    /// `STATX_*`, what the program wants to know.
    asked: u32,
    _stat: PhantomData<&'a mut ()>,
}

impl Stat<'_> {
    /// Sets the birth time.
    pub(crate) fn set_btime(&mut self, time: Time) {
        // SAFETY: By the type invariant.
        unsafe {
            (*self.stat).result_mask |= bindings::STATX_BTIME;
            (*self.stat).btime.tv_sec = time.sec;
            (*self.stat).btime.tv_nsec = time.nsec as isize;
        }
    }

    /// Adds blocks that are promised but not on disk, in 512-byte units.
    pub(crate) fn add_blocks(&mut self, sectors: u64) {
        // SAFETY: As above.
        unsafe { (*self.stat).blocks += sectors }
    }

    /// Reports that direct I/O is possible in units of the device, as all file systems of iomap's
    /// can.
    pub(crate) fn set_direct_io<F: FileSystem>(&mut self, inode: &Inode<F>) {
        let (bdev, block) = (inode.sb().bdev(), inode.block_size() as u32);
        // SAFETY: By the type invariant; the device is open while it is mounted.
        unsafe {
            let (memory, offset) = if inode.has_encrypted_data() {
                (block, block)
            } else {
                (
                    bindings::dma_alignment(bdev) + 1,
                    bindings::bdev_sector_size(bdev),
                )
            };
            (*self.stat).result_mask |= bindings::STATX_DIOALIGN;
            (*self.stat).dio_mem_align = memory;
            (*self.stat).dio_offset_align = offset;
        }
    }

    /// Reports how many bytes [`FileOps::whole_write`] has, if that was asked: the attribute is
    /// known to those only who ask.
    ///
    /// [`FileOps::whole_write`]: crate::vfs::file::FileOps::whole_write
    pub(crate) fn set_whole_write(&mut self, len: Option<u32>) {
        let len = len.unwrap_or(0);
        if self.asked & bindings::STATX_WRITE_ATOMIC == 0 {
            return;
        }
        // SAFETY: By the type invariant.
        unsafe { bindings::generic_fill_statx_atomic_writes(self.stat, len, len, 0) }
    }

    /// Reports the attributes of chattr(1); those that are false are known not to be there.
    pub(crate) fn set_attributes(&mut self, attributes: &Attributes) {
        let all = [
            (bindings::STATX_ATTR_APPEND, attributes.append),
            (bindings::STATX_ATTR_IMMUTABLE, attributes.immutable),
            (bindings::STATX_ATTR_NODUMP, attributes.no_dump),
            (bindings::STATX_ATTR_COMPRESSED, attributes.compressed),
            (bindings::STATX_ATTR_ENCRYPTED, attributes.encrypted),
        ];
        for (bit, on) in all {
            // SAFETY: As above.
            unsafe {
                (*self.stat).attributes_mask |= u64::from(bit);
                if on {
                    (*self.stat).attributes |= u64::from(bit);
                }
            }
        }
    }
}

/// What statx shows of the attributes of chattr(1).
pub(crate) struct Attributes {
    pub(crate) append: bool,
    pub(crate) immutable: bool,
    pub(crate) no_dump: bool,
    pub(crate) compressed: bool,
    pub(crate) encrypted: bool,
}

/// The tables of inode operations, one for each type of inode.
pub(in crate::vfs) struct InodeTable<F>(PhantomData<F>);

impl<F: InodeOps> InodeTable<F> {
    /// What all types have.
    pub(super) const ANY: bindings::inode_operations = bindings::inode_operations {
        setattr: if F::HAS_SETATTR {
            Some(Self::setattr)
        } else {
            None
        },
        getattr: if F::HAS_GETATTR {
            Some(Self::getattr)
        } else {
            None
        },
        listxattr: if F::HAS_LIST_XATTR {
            Some(Self::listxattr)
        } else {
            None
        },
        // SAFETY: All other members are nullable pointers.
        ..unsafe { mem::zeroed() }
    };
    /// Of devices, pipes and sockets; what all but symbolic links have.
    pub(in crate::vfs) const SPECIAL: bindings::inode_operations = bindings::inode_operations {
        get_inode_acl: if F::HAS_GET_ACL {
            Some(Self::get_inode_acl)
        } else {
            None
        },
        set_acl: if F::HAS_SET_ACL {
            Some(Self::set_acl)
        } else {
            None
        },
        ..Self::ANY
    };
    /// Of files; with more in it, of directories.
    pub(in crate::vfs) const REGULAR: bindings::inode_operations = bindings::inode_operations {
        fileattr_get: if F::HAS_FILEATTR_GET {
            Some(Self::fileattr_get)
        } else {
            None
        },
        fileattr_set: if F::HAS_FILEATTR_SET {
            Some(Self::fileattr_set)
        } else {
            None
        },
        fiemap: if F::HAS_FIEMAP {
            Some(Self::fiemap)
        } else {
            None
        },
        ..Self::SPECIAL
    };

    /// # Safety
    ///
    /// `dentry` names an inode of `F`, and the caller holds it; i_rwsem of the inode is held
    /// exclusive. `idmap` and `attr` are valid during the call (notify_change()).
    unsafe extern "C" fn setattr(
        idmap: *mut bindings::mnt_idmap,
        dentry: *mut bindings::dentry,
        attr: *mut bindings::iattr,
    ) -> c_int {
        from_result(|| {
            // SAFETY: By the caller. A dentry that is held stays positive.
            let inode = unsafe { Inode::<F>::from_raw((*dentry).d_inode) };
            // SAFETY: By the caller.
            let lock = unsafe { InodeLock::assume(inode) };
            let mut attr = Attr(attr, dentry, PhantomData);
            F::setattr(IdMap(idmap, PhantomData), lock.deref(), &mut attr).map(|()| 0)
        })
    }

    /// # Safety
    ///
    /// `path` names an inode of `F`, and the caller holds it; `idmap` is its mount's. `stat` is
    /// this thread's.
    pub(super) unsafe extern "C" fn getattr(
        idmap: *mut bindings::mnt_idmap,
        path: *const bindings::path,
        stat: *mut bindings::kstat,
        mask: u32,
        _flags: c_uint,
    ) -> c_int {
        // SAFETY: By the caller.
        let raw = unsafe { (*(*path).dentry).d_inode };
        // SAFETY: By the caller; the path keeps the inode.
        unsafe { bindings::generic_fillattr(idmap, mask, raw, stat) };
        // SAFETY: As above.
        let inode = unsafe { Inode::from_raw(raw) };
        let mut stat = Stat {
            stat,
            asked: mask,
            _stat: PhantomData,
        };
        F::getattr(inode, &mut stat);
        0
    }

    /// # Safety
    ///
    /// `dentry` names an inode of `F`, and the caller holds it; `fa` is this thread's.
    unsafe extern "C" fn fileattr_get(
        dentry: *mut bindings::dentry,
        fa: *mut kernel::bindings::file_kattr,
    ) -> c_int {
        // SAFETY: By the caller. A dentry that is held stays positive.
        let (inode, mut attr) = unsafe {
            (
                Inode::<F>::from_raw((*dentry).d_inode),
                FileAttr::from_raw(fa),
            )
        };
        F::fileattr_get(inode, &mut attr);
        0
    }

    /// # Safety
    ///
    /// As for [`Self::fileattr_get`], and i_rwsem of the inode is held exclusive
    /// (vfs_fileattr_set()).
    unsafe extern "C" fn fileattr_set(
        _idmap: *mut bindings::mnt_idmap,
        dentry: *mut bindings::dentry,
        fa: *mut kernel::bindings::file_kattr,
    ) -> c_int {
        from_result(|| {
            // SAFETY: By the caller. A dentry that is held stays positive.
            let inode = unsafe { Inode::<F>::from_raw((*dentry).d_inode) };
            // SAFETY: By the caller.
            let (lock, attr) = unsafe { (InodeLock::assume(inode), FileAttr::from_raw(fa)) };
            F::fileattr_set(lock.deref(), &attr).map(|()| 0)
        })
    }

    /// # Safety
    ///
    /// `inode` is one of `F`, and the caller holds it; `info` is this thread's.
    unsafe extern "C" fn fiemap(
        inode: *mut bindings::inode,
        info: *mut bindings::fiemap_extent_info,
        start: u64,
        len: u64,
    ) -> c_int {
        // SAFETY: By the caller.
        let (inode, info) = unsafe { (Inode::from_raw(inode), FiemapInfo::from_raw(info)) };
        let bytes = start..start.saturating_add(len);
        from_result(|| F::fiemap(inode, info, bytes).map(|()| 0))
    }
    /// # Safety
    ///
    /// `dentry` names an inode of `F`, and the caller holds it; `buffer` is null or to `size` bytes
    /// of this thread's (vfs_listxattr()).
    unsafe extern "C" fn listxattr(
        dentry: *mut bindings::dentry,
        buffer: *mut c_char,
        size: usize,
    ) -> isize {
        // SAFETY: By the caller. A dentry that is held stays positive.
        let inode = unsafe { Inode::<F>::from_raw((*dentry).d_inode) };
        // SAFETY: By the caller.
        let listed = unsafe { xattr::list(buffer, size, |names| F::list_xattr(inode, names)) };
        // CAST: To the larger type.
        listed.unwrap_or_else(|e| e.to_errno() as isize)
    }

    /// # Safety
    ///
    /// `inode` is one of `F`; but for an RCU walk the caller holds it.
    unsafe extern "C" fn get_inode_acl(
        inode: *mut bindings::inode,
        kind: c_int,
        rcu: bool,
    ) -> *mut bindings::posix_acl {
        let get = || {
            // An RCU walk may not sleep, and reading may.
            if rcu {
                return Err(ECHILD);
            }
            // SAFETY: By the caller.
            F::get_acl(
                unsafe { Inode::from_raw(inode) },
                acl::Kind::from_raw(kind)?,
            )
        };
        match get() {
            Ok(acl) => acl.map_or(ptr::null_mut(), Acl::into_raw),
            Err(e) => e.to_ptr(),
        }
    }

    /// # Safety
    ///
    /// As for [`Self::setattr`]; `acl` is null or valid during the call (vfs_set_acl()).
    unsafe extern "C" fn set_acl(
        idmap: *mut bindings::mnt_idmap,
        dentry: *mut bindings::dentry,
        acl: *mut bindings::posix_acl,
        kind: c_int,
    ) -> c_int {
        from_result(|| {
            // SAFETY: By the caller. A dentry that is held stays positive.
            let inode = unsafe { Inode::<F>::from_raw((*dentry).d_inode) };
            // SAFETY: By the caller.
            let (lock, acl) = unsafe { (InodeLock::assume(inode), Acl::borrowed(acl)) };
            let (idmap, kind) = (IdMap(idmap, PhantomData), acl::Kind::from_raw(kind)?);
            F::set_acl(idmap, lock.deref(), kind, acl.as_deref()).map(|()| 0)
        })
    }
}
