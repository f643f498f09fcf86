// SPDX-License-Identifier: GPL-2.0

//! Operations on names, and the table of inode operations of directories. What inodes of all types
//! have: [`super::inode::InodeOps`].
//!
//! C headers: [`include/linux/fs.h`](srctree/include/linux/fs.h)

use super::{
    bindings,
    inode::{HeldInode, IdMap, Inode, InodeOps, InodeRef, InodeTable, NewInode},
    super_block::FileSystem,
    Dentry,
    InLookup, //
};
use core::{marker::PhantomData, ptr};
use kernel::{
    build_error,
    error::{from_result, to_result, VTABLE_DEFAULT_ERROR},
    prelude::*, //
};

/// Flags of `rename`.
#[derive(Clone, Copy)]
pub(crate) struct RenameFlags<'a> {
    bits: u32,
    idmap: IdMap<'a>,
}

impl<'a> RenameFlags<'a> {
    /// Exchange the two names.
    pub(crate) fn exchange(self) -> bool {
        self.bits & bindings::RENAME_EXCHANGE != 0
    }
    /// Leave a whiteout behind: a character device without a number. The map is for its owner.
    pub(crate) fn whiteout(self) -> Option<IdMap<'a>> {
        (self.bits & bindings::RENAME_WHITEOUT != 0).then_some(self.idmap)
    }
}

/// Operations on names. Every method runs with the locks that Documentation/filesystems/
/// locking.rst lists for the C operation of the same name: i_rwsem exclusive on each directory
/// that changes, and on victims; freeze protection at `SB_FREEZE_WRITE`. One that is not
/// implemented is not in the table.
#[vtable]
pub(crate) trait Namei: FileSystem {
    /// The inode that `dentry`, which is new, is to name in `dir`; `None` if there is none.
    fn lookup<'a>(
        dir: &'a Inode<Self>,
        dentry: &InLookup<Self>,
    ) -> Result<Option<InodeRef<'a, Self>>>;
    /// Makes a regular file.
    fn create(_idmap: IdMap<'_>, _dir: &Inode<Self>, _dentry: &Dentry<Self>, _mode: u16) -> Result {
        build_error!(VTABLE_DEFAULT_ERROR)
    }
    /// Makes a device node, pipe or socket. `rdev` is in the kernel's encoding.
    fn mknod(
        _idmap: IdMap<'_>,
        _dir: &Inode<Self>,
        _dentry: &Dentry<Self>,
        _mode: u16,
        _rdev: u32,
    ) -> Result {
        build_error!(VTABLE_DEFAULT_ERROR)
    }
    /// Makes a directory.
    fn mkdir(_idmap: IdMap<'_>, _dir: &Inode<Self>, _dentry: &Dentry<Self>, _mode: u16) -> Result {
        build_error!(VTABLE_DEFAULT_ERROR)
    }
    /// Makes a symbolic link to `target` (not empty, no NUL).
    fn symlink(
        _idmap: IdMap<'_>,
        _dir: &Inode<Self>,
        _dentry: &Dentry<Self>,
        _target: &[u8],
    ) -> Result {
        build_error!(VTABLE_DEFAULT_ERROR)
    }
    /// Adds a name for `inode`, which may be there as far as encryption goes.
    fn link(_inode: &HeldInode<Self>, _dir: &Inode<Self>, _dentry: &Dentry<Self>) -> Result {
        build_error!(VTABLE_DEFAULT_ERROR)
    }
    /// Removes the name of an inode that is no directory.
    fn unlink(_dir: &Inode<Self>, _dentry: &Dentry<Self>) -> Result {
        build_error!(VTABLE_DEFAULT_ERROR)
    }
    /// Removes an empty directory.
    fn rmdir(_dir: &Inode<Self>, _dentry: &Dentry<Self>) -> Result {
        build_error!(VTABLE_DEFAULT_ERROR)
    }
    /// Renames; `to` may name an inode that is replaced (or exchanged). What is named may be where
    /// it goes as far as encryption goes.
    fn rename(
        _from_dir: &Inode<Self>,
        _from: &Dentry<Self>,
        _to_dir: &Inode<Self>,
        _to: &Dentry<Self>,
        _flags: RenameFlags<'_>,
    ) -> Result {
        build_error!(VTABLE_DEFAULT_ERROR)
    }
    /// Makes a file without a name, as if in `dir`, whose i_rwsem is not held.
    fn tmpfile<'a>(
        _idmap: IdMap<'_>,
        _dir: &'a Inode<Self>,
        _mode: u16,
    ) -> Result<NewInode<'a, Self>> {
        build_error!(VTABLE_DEFAULT_ERROR)
    }
}

impl<F: Namei> Inode<F> {
    /// Sets the size of a directory in bytes, for a name that is being made in it, or when it is
    /// removed: then the VFS holds i_rwsem exclusive, or the directory is new and nobody else has
    /// it.
    pub(crate) fn set_dir_size(&self, size: u64) {
        self.set_size(size);
    }
}

/// The table of inode operations of directories.
pub(super) struct DirInodeTable<F>(PhantomData<F>);

impl<F: Namei + InodeOps> DirInodeTable<F> {
    pub(super) const TABLE: bindings::inode_operations = bindings::inode_operations {
        lookup: Some(Self::lookup),
        create: if F::HAS_CREATE {
            Some(Self::create)
        } else {
            None
        },
        mknod: if F::HAS_MKNOD {
            Some(Self::mknod)
        } else {
            None
        },
        mkdir: if F::HAS_MKDIR {
            Some(Self::mkdir)
        } else {
            None
        },
        symlink: if F::HAS_SYMLINK {
            Some(Self::symlink)
        } else {
            None
        },
        link: if F::HAS_LINK { Some(Self::link) } else { None },
        unlink: if F::HAS_UNLINK {
            Some(Self::unlink)
        } else {
            None
        },
        rmdir: if F::HAS_RMDIR {
            Some(Self::rmdir)
        } else {
            None
        },
        rename: if F::HAS_RENAME {
            Some(Self::rename)
        } else {
            None
        },
        tmpfile: if F::HAS_TMPFILE {
            Some(Self::tmpfile)
        } else {
            None
        },
        ..InodeTable::<F>::REGULAR
    };

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

    /// # Safety
    ///
    /// `dir` is a directory of `F`, whose i_rwsem is held; `dentry` is a new name in it, held by
    /// the caller.
    unsafe extern "C" fn lookup(
        dir: *mut bindings::inode,
        dentry: *mut bindings::dentry,
        _flags: c_uint,
    ) -> *mut bindings::dentry {
        // SAFETY: By the caller; a new dentry is locked by that.
        let (dir, name) = unsafe { (Inode::from_raw(dir), InLookup::from_raw(dentry)) };
        let inode = match F::lookup(dir, name) {
            // C would move the name into the other tree.
            Ok(Some(inode)) if !ptr::eq(inode.sb(), dir.sb()) => return EXDEV.to_ptr(),
            Ok(Some(inode)) if !dir.may_find(&inode) => {
                // SAFETY: Takes no argument. Nothing of this is remembered: whoever may search the
                // directory can ask for it as often as he likes.
                if unsafe { bindings::crypt_may_tell() } {
                    let (id, number) = (dir.sb().id(), inode.number());
                    pr_warn!("{id}: inode {number} is not encrypted as its directory is\n");
                }
                return EPERM.to_ptr();
            }
            Ok(Some(inode)) => inode.into_raw(),
            Ok(None) => ptr::null_mut(),
            Err(e) => return e.to_ptr(),
        };
        // SAFETY: `d_splice_alias` takes over the count, also when it fails; null makes a negative
        // dentry. Both are of one super block.
        unsafe { bindings::d_splice_alias(inode, dentry) }
    }

    /// # Safety
    ///
    /// As `vfs_create()` does: `dir` is a directory of `F`, whose i_rwsem is held exclusive,
    /// `dentry` a negative name in it; the caller holds them and `idmap`.
    unsafe extern "C" fn create(
        idmap: *mut bindings::mnt_idmap,
        dir: *mut bindings::inode,
        dentry: *mut bindings::dentry,
        mode: bindings::umode_t,
    ) -> c_int {
        // SAFETY: By the caller.
        let (dir, dentry) = unsafe { Self::name_in(dir, dentry) };
        from_result(|| F::create(IdMap(idmap, PhantomData), dir, dentry, mode).map(|()| 0))
    }

    /// # Safety
    ///
    /// As for [`Self::create`].
    unsafe extern "C" fn mknod(
        idmap: *mut bindings::mnt_idmap,
        dir: *mut bindings::inode,
        dentry: *mut bindings::dentry,
        mode: bindings::umode_t,
        rdev: bindings::dev_t,
    ) -> c_int {
        // SAFETY: By the caller.
        let (dir, dentry) = unsafe { Self::name_in(dir, dentry) };
        from_result(|| F::mknod(IdMap(idmap, PhantomData), dir, dentry, mode, rdev).map(|()| 0))
    }

    /// # Safety
    ///
    /// As for [`Self::create`].
    unsafe extern "C" fn mkdir(
        idmap: *mut bindings::mnt_idmap,
        dir: *mut bindings::inode,
        dentry: *mut bindings::dentry,
        mode: bindings::umode_t,
    ) -> *mut bindings::dentry {
        // SAFETY: By the caller.
        let (dir, dentry) = unsafe { Self::name_in(dir, dentry) };
        match F::mkdir(IdMap(idmap, PhantomData), dir, dentry, mode) {
            // Null: the dentry passed in is the one now in use.
            Ok(()) => ptr::null_mut(),
            Err(e) => e.to_ptr(),
        }
    }

    /// # Safety
    ///
    /// As for [`Self::create`]; `target` is a string, NUL-terminated.
    unsafe extern "C" fn symlink(
        idmap: *mut bindings::mnt_idmap,
        dir: *mut bindings::inode,
        dentry: *mut bindings::dentry,
        target: *const c_char,
    ) -> c_int {
        // SAFETY: By the caller.
        let (dir, dentry) = unsafe { Self::name_in(dir, dentry) };
        // SAFETY: By the caller.
        let target = unsafe { CStr::from_char_ptr(target) }.to_bytes();
        from_result(|| F::symlink(IdMap(idmap, PhantomData), dir, dentry, target).map(|()| 0))
    }

    /// # Safety
    ///
    /// As for [`Self::create`]; `old` names an inode of `F`, whose i_rwsem is held exclusive, too.
    unsafe extern "C" fn link(
        old: *mut bindings::dentry,
        dir: *mut bindings::inode,
        dentry: *mut bindings::dentry,
    ) -> c_int {
        from_result(|| {
            // SAFETY: By the caller.
            to_result(unsafe { bindings::fscrypt_prepare_link(old, dir, dentry) })?;
            // SAFETY: By the caller, who holds `old`. It is not made a `Dentry`: its parent is not
            // locked.
            let inode = unsafe { &*(*old).d_inode.cast::<HeldInode<F>>() };
            // SAFETY: By the caller.
            let (dir, dentry) = unsafe { Self::name_in(dir, dentry) };
            F::link(inode, dir, dentry).map(|()| 0)
        })
    }

    /// # Safety
    ///
    /// `dir` is a directory of `F` and `dentry` names an inode in it; i_rwsem of both is held
    /// exclusive, and the caller holds them.
    unsafe extern "C" fn unlink(dir: *mut bindings::inode, dentry: *mut bindings::dentry) -> c_int {
        // SAFETY: By the caller.
        let (dir, dentry) = unsafe { Self::name_in(dir, dentry) };
        from_result(|| F::unlink(dir, dentry).map(|()| 0))
    }

    /// # Safety
    ///
    /// As for [`Self::unlink`].
    unsafe extern "C" fn rmdir(dir: *mut bindings::inode, dentry: *mut bindings::dentry) -> c_int {
        // SAFETY: By the caller.
        let (dir, dentry) = unsafe { Self::name_in(dir, dentry) };
        from_result(|| F::rmdir(dir, dentry).map(|()| 0))
    }

    /// # Safety
    ///
    /// `from` is a name in `from_dir`, and `to` one in `to_dir`; i_rwsem of both directories, and
    /// of what is named if it changes, is held exclusive, and the caller holds them and `idmap`
    /// (vfs_rename()).
    unsafe extern "C" fn rename(
        idmap: *mut bindings::mnt_idmap,
        from_dir: *mut bindings::inode,
        from: *mut bindings::dentry,
        to_dir: *mut bindings::inode,
        to: *mut bindings::dentry,
        flags: c_uint,
    ) -> c_int {
        // SAFETY: By the caller.
        let may_move =
            unsafe { bindings::fscrypt_prepare_rename(from_dir, from, to_dir, to, flags) };
        if may_move != 0 {
            return may_move;
        }
        // SAFETY: By the caller.
        let (from_dir, from) = unsafe { Self::name_in(from_dir, from) };
        // SAFETY: As above.
        let (to_dir, to) = unsafe { Self::name_in(to_dir, to) };
        let flags = RenameFlags {
            bits: flags,
            idmap: IdMap(idmap, PhantomData),
        };
        from_result(|| F::rename(from_dir, from, to_dir, to, flags).map(|()| 0))
    }

    /// # Safety
    ///
    /// `dir` is a directory of `F`, which the caller holds, and does not lock; `file` is being
    /// opened and has a new dentry of the same super block (vfs_tmpfile()).
    unsafe extern "C" fn tmpfile(
        idmap: *mut bindings::mnt_idmap,
        dir: *mut bindings::inode,
        file: *mut bindings::file,
        mode: bindings::umode_t,
    ) -> c_int {
        from_result(|| {
            // SAFETY: By the caller.
            let dir = unsafe { Inode::<F>::from_raw(dir) };
            let inode = F::tmpfile(IdMap(idmap, PhantomData), dir, mode)?;
            if !ptr::eq(inode.sb(), dir.sb()) {
                inode.discard();
                return Err(EXDEV);
            }
            // SAFETY: By the caller; the super block is the same.
            unsafe { inode.publish_tmpfile(file) };
            // SAFETY: As above.
            to_result(unsafe { bindings::finish_open_simple(file) })?;
            Ok(0)
        })
    }
}
