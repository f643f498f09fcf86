// SPDX-License-Identifier: GPL-2.0

//! Inode operations: names, attributes, and the tables for every type of inode.
//!
//! C headers: [`include/linux/fs.h`](srctree/include/linux/fs.h)

use super::{
    address_space::AddressSpaceTable,
    bindings,
    dir::{DirOps, DirTable},
    file::FileTable,
    inode::{INode, IdMap, Inode, InodeLock, InodeRef, NewInode, Time},
    super_block::{FileSystem, SuperBlock},
    Dentry, //
};
use core::{marker::PhantomData, mem, ops::Deref, ptr};
use kernel::{
    error::{from_result, to_result},
    prelude::*, //
};

/// Flags of `rename`.
#[derive(Clone, Copy)]
pub(crate) struct RenameFlags(u32);

impl RenameFlags {
    /// Exchange the two names.
    pub(crate) fn exchange(self) -> bool {
        self.0 & bindings::RENAME_EXCHANGE != 0
    }
    /// Leave a whiteout behind.
    pub(crate) fn whiteout(self) -> bool {
        self.0 & bindings::RENAME_WHITEOUT != 0
    }
}

/// Names and attributes. Every method runs with the locks that Documentation/filesystems/
/// locking.rst lists for the C operation of the same name: i_rwsem exclusive on each directory
/// that changes, and on victims; freeze protection at `SB_FREEZE_WRITE`.
pub(crate) trait Namei: DirOps {
    /// The inode named `name` in `dir`, `None` if there is none.
    fn lookup<'a>(dir: &'a Inode<Self>, name: &[u8]) -> Result<Option<InodeRef<'a, Self>>>;
    /// Makes a regular file.
    fn create(idmap: IdMap<'_>, dir: &Inode<Self>, dentry: &Dentry<Self>, mode: u16) -> Result;
    /// Makes a device node, pipe or socket. `rdev` is in the kernel's encoding.
    fn mknod(
        idmap: IdMap<'_>,
        dir: &Inode<Self>,
        dentry: &Dentry<Self>,
        mode: u16,
        rdev: u32,
    ) -> Result;
    /// Makes a directory.
    fn mkdir(idmap: IdMap<'_>, dir: &Inode<Self>, dentry: &Dentry<Self>, mode: u16) -> Result;
    /// Makes a symbolic link to `target` (not empty, no NUL).
    fn symlink(idmap: IdMap<'_>, dir: &Inode<Self>, dentry: &Dentry<Self>, target: &[u8])
        -> Result;
    /// The target of a symbolic link that is not in memory, without a NUL at the end.
    fn read_link(inode: &Inode<Self>) -> Result<KVec<u8>>;
    /// Adds a name for `inode`.
    fn link(inode: &INode<Self>, dir: &Inode<Self>, dentry: &Dentry<Self>) -> Result;
    /// Removes the name of an inode that is no directory.
    fn unlink(dir: &Inode<Self>, dentry: &Dentry<Self>) -> Result;
    /// Removes an empty directory.
    fn rmdir(dir: &Inode<Self>, dentry: &Dentry<Self>) -> Result;
    /// Renames; `to` may name an inode that is replaced (or exchanged).
    fn rename(
        from_dir: &Inode<Self>,
        from: &Dentry<Self>,
        to_dir: &Inode<Self>,
        to: &Dentry<Self>,
        flags: RenameFlags,
    ) -> Result;
    /// Makes a file without a name in `dir`; it is opened through `dentry`'s file.
    fn tmpfile<'a>(idmap: IdMap<'_>, dir: &'a Inode<Self>, mode: u16)
        -> Result<NewInode<'a, Self>>;
    /// Changes attributes (i_rwsem exclusive).
    fn setattr(
        idmap: IdMap<'_>,
        inode: &Inode<Self>,
        lock: &InodeLock<'_, Self>,
        attr: &mut Attr<'_>,
    ) -> Result;
    /// Fills what `stat` shows beyond the VFS inode.
    fn getattr(inode: &Inode<Self>, stat: &mut Stat<'_>);
    /// Extent report for FIEMAP; see [`super::iomap::fiemap`].
    fn fiemap(
        inode: &Inode<Self>,
        info: super::iomap::FiemapInfo<'_>,
        start: u64,
        len: u64,
    ) -> Result;
}

/// New attributes, from `struct iattr`, and the dentry they are set through. That is no [`Dentry`]:
/// its parent is not locked, so its name may change and be freed at any time.
pub(crate) struct Attr<'a>(
    *mut bindings::iattr,
    *mut bindings::dentry,
    PhantomData<&'a mut ()>,
);

impl Attr<'_> {
    fn valid(&self) -> u32 {
        // SAFETY: The VFS passes a valid `iattr`.
        unsafe { (*self.0).ia_valid }
    }

    /// The new size in bytes, if it is to change.
    pub(crate) fn size(&self) -> Option<u64> {
        // SAFETY: As above.
        (self.valid() & bindings::ATTR_SIZE != 0).then(|| unsafe { (*self.0).ia_size as u64 })
    }

    /// Whether mtime or ctime come with the call. Truncation sets them itself otherwise.
    pub(crate) fn sets_mtime(&self) -> bool {
        self.valid() & bindings::ATTR_MTIME != 0
    }

    /// Permission checks of the VFS, privilege bits to drop.
    pub(crate) fn prepare(&mut self, idmap: IdMap<'_>) -> Result {
        // SAFETY: `notify_change` passes all three; it holds the dentry and locks its inode.
        to_result(unsafe { bindings::setattr_prepare(idmap.0, self.1, self.0) })
    }

    /// Copies mode, owner and times into the inode (not the size).
    pub(crate) fn copy_to<F: FileSystem>(&self, idmap: IdMap<'_>, lock: &InodeLock<'_, F>) {
        // SAFETY: All pointers are valid and i_rwsem is held exclusive.
        unsafe { bindings::setattr_copy(idmap.0, lock.0.as_ptr(), self.0) }
    }
}

/// The answer to `stat`.
pub(crate) struct Stat<'a>(*mut bindings::kstat, PhantomData<&'a mut ()>);

impl Stat<'_> {
    /// Sets the birth time.
    pub(crate) fn set_btime(&mut self, time: Time) {
        // SAFETY: The VFS passes a valid `kstat`.
        unsafe {
            (*self.0).result_mask |= bindings::STATX_BTIME;
            (*self.0).btime.tv_sec = time.sec;
            (*self.0).btime.tv_nsec = time.nsec as isize;
        }
    }

    /// Adds blocks that are promised but not on disk, in 512-byte units.
    pub(crate) fn add_blocks(&mut self, sectors: u64) {
        // SAFETY: As above.
        unsafe { (*self.0).blocks += sectors }
    }

    /// Reports that direct I/O is possible in units of the device, as all file systems of iomap's can.
    pub(crate) fn set_direct_io<F: FileSystem>(&mut self, sb: &SuperBlock<F>) {
        // SAFETY: As above; the device is valid while it is mounted.
        unsafe {
            (*self.0).result_mask |= bindings::STATX_DIOALIGN;
            (*self.0).dio_mem_align = bindings::rext4_helper_dma_alignment(sb.bdev()) + 1;
            (*self.0).dio_offset_align = bindings::rext4_helper_bdev_sector_size(sb.bdev());
        }
    }

    /// Reports the attributes of chattr(1).
    pub(crate) fn set_attributes(&mut self, append: bool, immutable: bool) {
        let bits = if append {
            u64::from(bindings::STATX_ATTR_APPEND)
        } else {
            0
        } | if immutable {
            u64::from(bindings::STATX_ATTR_IMMUTABLE)
        } else {
            0
        };
        // SAFETY: As above.
        unsafe {
            (*self.0).attributes |= bits;
            (*self.0).attributes_mask |=
                u64::from(bindings::STATX_ATTR_APPEND | bindings::STATX_ATTR_IMMUTABLE);
        }
    }
}

/// The operation tables of `F`.
pub(super) struct Tables<F>(PhantomData<F>);

impl<F: Namei> Tables<F> {
    // SAFETY: All members are nullable pointers.
    const NO_INODE_OPS: bindings::inode_operations = unsafe { mem::zeroed() };

    pub(super) const DIR_INODE: bindings::inode_operations = bindings::inode_operations {
        lookup: Some(Self::lookup),
        create: Some(Self::create),
        mknod: Some(Self::mknod),
        mkdir: Some(Self::mkdir),
        symlink: Some(Self::symlink),
        link: Some(Self::link),
        unlink: Some(Self::unlink),
        rmdir: Some(Self::rmdir),
        rename: Some(Self::rename),
        tmpfile: Some(Self::tmpfile),
        setattr: Some(Self::setattr),
        getattr: Some(Self::getattr),
        ..Self::NO_INODE_OPS
    };
    pub(super) const FILE_INODE: bindings::inode_operations = bindings::inode_operations {
        setattr: Some(Self::setattr),
        getattr: Some(Self::getattr),
        fiemap: Some(Self::fiemap),
        ..Self::NO_INODE_OPS
    };
    pub(super) const SPECIAL: bindings::inode_operations = bindings::inode_operations {
        setattr: Some(Self::setattr),
        getattr: Some(Self::getattr),
        ..Self::NO_INODE_OPS
    };
    pub(super) const FAST_SYMLINK: bindings::inode_operations = bindings::inode_operations {
        get_link: Some(bindings::simple_get_link),
        setattr: Some(Self::setattr),
        getattr: Some(Self::getattr),
        ..Self::NO_INODE_OPS
    };
    pub(super) const SYMLINK: bindings::inode_operations = bindings::inode_operations {
        get_link: Some(Self::get_link),
        setattr: Some(Self::setattr),
        getattr: Some(Self::getattr),
        ..Self::NO_INODE_OPS
    };
    pub(super) const FILE: bindings::file_operations = FileTable::<F>::FILE;
    pub(super) const DIR: bindings::file_operations = DirTable::<F>::TABLE;
    pub(super) const ADDRESS_SPACE: bindings::address_space_operations =
        AddressSpaceTable::<F>::TABLE;

    /// A directory and a name in it.
    ///
    /// # Safety
    ///
    /// Both are of file system `F` and valid for `'a`, and i_rwsem of the directory is held for it.
    unsafe fn name_in<'a>(
        dir: *mut bindings::inode,
        dentry: *mut bindings::dentry,
    ) -> (&'a Inode<F>, &'a Dentry<F>) {
        // SAFETY: By the caller.
        unsafe { (Inode::from_raw(dir), Dentry::from_raw(dentry)) }
    }

    unsafe extern "C" fn lookup(
        dir: *mut bindings::inode,
        dentry: *mut bindings::dentry,
        _flags: c_uint,
    ) -> *mut bindings::dentry {
        // SAFETY: As the VFS passes them; the dentry is new, and locked by that.
        let (dir, name) = unsafe { Self::name_in(dir, dentry) };
        let inode = match F::lookup(dir, name.name()) {
            // C would move the name into the other tree.
            Ok(Some(inode)) if !ptr::eq(inode.sb(), dir.sb()) => return EXDEV.to_ptr(),
            Ok(Some(inode)) => inode.into_raw(),
            Ok(None) => ptr::null_mut(),
            Err(e) => return e.to_ptr(),
        };
        // SAFETY: `d_splice_alias` takes over the count, also when it fails; null makes a negative
        // dentry. Both are of one super block.
        unsafe { bindings::d_splice_alias(inode, dentry) }
    }

    unsafe extern "C" fn get_link(
        dentry: *mut bindings::dentry,
        inode: *mut bindings::inode,
        done: *mut bindings::delayed_call,
    ) -> *const c_char {
        let read = || -> Result<*mut c_char> {
            // An RCU walk may not sleep, and reading may.
            if dentry.is_null() {
                return Err(ECHILD);
            }
            // SAFETY: The VFS passes an inode of ours.
            let mut text = F::read_link(unsafe { Inode::from_raw(inode) })?;
            text.push(0, GFP_KERNEL)?;
            let text = mem::ManuallyDrop::new(text).as_mut_ptr();
            // SAFETY: The VFS runs the call once, when it is done with the text, which was
            // allocated by kmalloc.
            unsafe { bindings::rext4_helper_set_free_link(done, text.cast()) };
            Ok(text.cast())
        };
        read().unwrap_or_else(|e| e.to_ptr())
    }

    unsafe extern "C" fn create(
        idmap: *mut bindings::mnt_idmap,
        dir: *mut bindings::inode,
        dentry: *mut bindings::dentry,
        mode: bindings::umode_t,
    ) -> c_int {
        // SAFETY: As the VFS passes them.
        let (dir, dentry) = unsafe { Self::name_in(dir, dentry) };
        from_result(|| F::create(IdMap(idmap, PhantomData), dir, dentry, mode).map(|()| 0))
    }

    unsafe extern "C" fn mknod(
        idmap: *mut bindings::mnt_idmap,
        dir: *mut bindings::inode,
        dentry: *mut bindings::dentry,
        mode: bindings::umode_t,
        rdev: bindings::dev_t,
    ) -> c_int {
        // SAFETY: As the VFS passes them.
        let (dir, dentry) = unsafe { Self::name_in(dir, dentry) };
        from_result(|| F::mknod(IdMap(idmap, PhantomData), dir, dentry, mode, rdev).map(|()| 0))
    }

    unsafe extern "C" fn mkdir(
        idmap: *mut bindings::mnt_idmap,
        dir: *mut bindings::inode,
        dentry: *mut bindings::dentry,
        mode: bindings::umode_t,
    ) -> *mut bindings::dentry {
        // SAFETY: As the VFS passes them.
        let (dir, dentry) = unsafe { Self::name_in(dir, dentry) };
        match F::mkdir(IdMap(idmap, PhantomData), dir, dentry, mode) {
            // Null: the dentry passed in is the one now in use.
            Ok(()) => ptr::null_mut(),
            Err(e) => e.to_ptr(),
        }
    }

    unsafe extern "C" fn symlink(
        idmap: *mut bindings::mnt_idmap,
        dir: *mut bindings::inode,
        dentry: *mut bindings::dentry,
        target: *const c_char,
    ) -> c_int {
        // SAFETY: As the VFS passes them.
        let (dir, dentry) = unsafe { Self::name_in(dir, dentry) };
        // SAFETY: NUL-terminated, and it stays during the call.
        let target = unsafe { CStr::from_char_ptr(target) }.to_bytes();
        from_result(|| F::symlink(IdMap(idmap, PhantomData), dir, dentry, target).map(|()| 0))
    }

    unsafe extern "C" fn link(
        old: *mut bindings::dentry,
        dir: *mut bindings::inode,
        dentry: *mut bindings::dentry,
    ) -> c_int {
        from_result(|| {
            // SAFETY: `old` is positive, `vfs_link` holds it and has locked its inode. It is not
            // made a `Dentry`: its parent is not locked.
            let inode = unsafe { &*(*old).d_inode.cast::<INode<F>>() };
            // SAFETY: As the VFS passes them.
            let (dir, dentry) = unsafe { Self::name_in(dir, dentry) };
            F::link(inode, dir, dentry).map(|()| 0)
        })
    }

    unsafe extern "C" fn unlink(dir: *mut bindings::inode, dentry: *mut bindings::dentry) -> c_int {
        // SAFETY: As the VFS passes them.
        let (dir, dentry) = unsafe { Self::name_in(dir, dentry) };
        from_result(|| F::unlink(dir, dentry).map(|()| 0))
    }

    unsafe extern "C" fn rmdir(dir: *mut bindings::inode, dentry: *mut bindings::dentry) -> c_int {
        // SAFETY: As the VFS passes them.
        let (dir, dentry) = unsafe { Self::name_in(dir, dentry) };
        from_result(|| F::rmdir(dir, dentry).map(|()| 0))
    }

    unsafe extern "C" fn rename(
        _idmap: *mut bindings::mnt_idmap,
        from_dir: *mut bindings::inode,
        from: *mut bindings::dentry,
        to_dir: *mut bindings::inode,
        to: *mut bindings::dentry,
        flags: c_uint,
    ) -> c_int {
        // SAFETY: As the VFS passes them, both directories and the victims locked.
        let (from_dir, from) = unsafe { Self::name_in(from_dir, from) };
        // SAFETY: As above.
        let (to_dir, to) = unsafe { Self::name_in(to_dir, to) };
        from_result(|| F::rename(from_dir, from, to_dir, to, RenameFlags(flags)).map(|()| 0))
    }

    unsafe extern "C" fn tmpfile(
        idmap: *mut bindings::mnt_idmap,
        dir: *mut bindings::inode,
        file: *mut bindings::file,
        mode: bindings::umode_t,
    ) -> c_int {
        from_result(|| {
            // SAFETY: The VFS passes a directory of ours, and has locked it.
            let dir = unsafe { Inode::<F>::from_raw(dir) };
            let inode = F::tmpfile(IdMap(idmap, PhantomData), dir, mode)?;
            if !ptr::eq(inode.sb(), dir.sb()) {
                inode.discard();
                return Err(EXDEV);
            }
            // SAFETY: The inode is ours. `d_tmpfile` sets the link count to zero itself, and
            // expects one link.
            unsafe { bindings::set_nlink(inode.as_ptr(), 1) };
            let inode = inode.publish().into_raw();
            // SAFETY: The file is being opened, its dentry is new and of the same super block. The
            // function takes over our count.
            unsafe { bindings::d_tmpfile(file, inode) };
            // SAFETY: As above.
            to_result(unsafe { bindings::rext4_helper_finish_open_simple(file) })?;
            Ok(0)
        })
    }

    unsafe extern "C" fn setattr(
        idmap: *mut bindings::mnt_idmap,
        dentry: *mut bindings::dentry,
        attr: *mut bindings::iattr,
    ) -> c_int {
        from_result(|| {
            // SAFETY: `notify_change` passes a positive dentry of ours and a reference to it,
            // so that it stays positive.
            let inode = unsafe { Inode::<F>::from_raw((*dentry).d_inode) };
            // SAFETY: `notify_change` is called with i_rwsem held exclusive.
            let lock = unsafe { InodeLock::assume(inode) };
            let mut attr = Attr(attr, dentry, PhantomData);
            F::setattr(IdMap(idmap, PhantomData), inode, lock.deref(), &mut attr).map(|()| 0)
        })
    }

    unsafe extern "C" fn getattr(
        idmap: *mut bindings::mnt_idmap,
        path: *const bindings::path,
        stat: *mut bindings::kstat,
        mask: u32,
        _flags: c_uint,
    ) -> c_int {
        // SAFETY: The path names a positive dentry of this file system.
        let raw = unsafe { (*(*path).dentry).d_inode };
        // SAFETY: The path keeps the inode; the VFS passes a `kstat` to fill.
        unsafe { bindings::generic_fillattr(idmap, mask, raw, stat) };
        // SAFETY: As above.
        let inode = unsafe { Inode::from_raw(raw) };
        F::getattr(inode, &mut Stat(stat, PhantomData));
        0
    }

    unsafe extern "C" fn fiemap(
        inode: *mut bindings::inode,
        info: *mut bindings::fiemap_extent_info,
        start: u64,
        len: u64,
    ) -> c_int {
        // SAFETY: The VFS passes valid objects for the duration of the call.
        let (inode, info) = unsafe {
            (
                Inode::from_raw(inode),
                super::iomap::FiemapInfo::from_raw(info),
            )
        };
        from_result(|| F::fiemap(inode, info, start, len).map(|()| 0))
    }
}
