// SPDX-License-Identifier: GPL-2.0

//! Inodes that nobody sees yet: read from disk, or made.
//!
//! C headers: [`include/linux/fs.h`](srctree/include/linux/fs.h)

use super::{IdMap, Inode, InodeFlags, InodeRef, Time};
use crate::vfs::{
    bindings,
    super_block::{FileSystem, SuperBlock},
    Dentry, //
};
use core::{marker::PhantomData, mem::ManuallyDrop, ops::Deref, ptr::NonNull};
use kernel::{error::to_result, prelude::*, sync::rcu};

/// What [`SuperBlock::iget`] finds.
pub(crate) enum Iget<'sb, F: FileSystem> {
    /// It was in memory.
    Ready(InodeRef<'sb, F>),
    /// It is new and locked; the caller reads it from disk.
    New(NewInode<'sb, F, Hashed>),
}

/// How far a [`NewInode`] has come. It can be published when it is [`Ready`].
pub(crate) trait Stage {
    /// Whether it is in the inode cache, and `I_NEW`.
    const HASHED: bool;
}

/// No number yet, and nobody can find it.
pub(crate) struct Fresh;
/// It has its number; who looks for that waits (`I_NEW`).
pub(crate) struct Hashed;
/// It has its operations too, so that its type stays.
pub(crate) struct Ready;

impl Stage for Fresh {
    const HASHED: bool = false;
}
impl Stage for Hashed {
    const HASHED: bool = true;
}
impl Stage for Ready {
    const HASHED: bool = true;
}

/// Stages in which mode and flags can be set.
pub(crate) trait Unfinished: Stage {}
impl Unfinished for Fresh {}
impl Unfinished for Hashed {}

/// A new inode, invisible to others until [`NewInode::publish`]. Dropped before that, it becomes a
/// bad inode and goes away, without a transaction.
///
/// # Invariants
///
/// We own a count of the inode, which is in the state that `S` says. Nobody else changes it.
pub(crate) struct NewInode<'sb, F: FileSystem, S: Stage = Ready> {
    inode: NonNull<Inode<F>>,
    _sb: PhantomData<(&'sb SuperBlock<F>, S)>,
}

impl<F: FileSystem, S: Stage> Deref for NewInode<'_, F, S> {
    type Target = Inode<F>;
    fn deref(&self) -> &Inode<F> {
        // SAFETY: By the type invariant; the super block is borrowed for longer than `self`.
        unsafe { self.inode.as_ref() }
    }
}

impl<F: FileSystem> SuperBlock<F> {
    /// Looks inode `ino` up in the inode cache or makes a new one to be read. `ESTALE` for one that
    /// is being made just now and has no name yet, `ENOMEM`.
    pub(crate) fn iget(&self, ino: u64) -> Result<Iget<'_, F>> {
        let inode = self.iget_locked(ino)?;
        // SAFETY: `iget_locked` has counted it for us.
        if unsafe { inode.as_ref() }.is_new() {
            // INVARIANT: `iget_locked` has hashed and locked it, and the count is ours.
            return Ok(Iget::New(NewInode {
                inode,
                _sb: PhantomData,
            }));
        }
        // SAFETY: The count that `iget_locked` took becomes the reference's, which borrows `self`.
        let inode = unsafe { InodeRef::from_raw(inode.cast()) };
        // SAFETY: By the type invariant of `Inode`.
        if unsafe { bindings::is_bad_inode(inode.as_ptr()) } {
            return Err(EIO);
        }
        Ok(Iget::Ready(inode))
    }

    /// `iget_locked()`, whose null pointer means either. Where it is not known by now, it is asked
    /// again: one that was being made may be ready.
    fn iget_locked(&self, ino: u64) -> Result<NonNull<Inode<F>>> {
        for _ in 0..2 {
            // SAFETY: By the type invariant of `SuperBlock`.
            let inode = unsafe { bindings::iget_locked(self.as_ptr(), ino) };
            if let Some(inode) = NonNull::new(inode.cast()) {
                return Ok(inode);
            }
            if self.is_creating(ino) {
                return Err(ESTALE);
            }
        }
        Err(ENOMEM)
    }

    /// Whether inode `ino` is in the cache and has not been published.
    fn is_creating(&self, ino: u64) -> bool {
        let _rcu = rcu::read_lock();
        // SAFETY: By the type invariant of `SuperBlock`, and under the RCU lock, in which an inode
        // that is found is not freed.
        unsafe {
            let inode = bindings::find_inode_by_ino_rcu(self.as_ptr(), ino);
            !inode.is_null() && bindings::inode_is_creating(inode)
        }
    }

    /// Inode `ino` if it is in memory, also one without links that is still open. Waits for one
    /// that is being read or is on its way out.
    pub(crate) fn find_inode(&self, ino: u64) -> Option<InodeRef<'_, F>> {
        // SAFETY: By the type invariant of `SuperBlock`.
        let inode = unsafe { bindings::ilookup(self.as_ptr(), ino) };
        // SAFETY: The count that `ilookup` took becomes the reference's, which borrows `self`.
        NonNull::new(inode).map(|inode| unsafe { InodeRef::from_raw(inode) })
    }

    /// A fresh inode that is not on disk yet; it has no number.
    pub(crate) fn new_inode(&self) -> Result<NewInode<'_, F, Fresh>> {
        // SAFETY: By the type invariant of `SuperBlock`.
        let inode = unsafe { bindings::new_inode(self.as_ptr()) };
        let inode = NonNull::new(inode.cast()).ok_or(ENOMEM)?;
        // INVARIANT: Nobody has it but us.
        Ok(NewInode {
            inode,
            _sb: PhantomData,
        })
    }
}

impl<'sb, F: FileSystem> NewInode<'sb, F, Fresh> {
    /// Gives a fresh inode its number and hashes it. `EBUSY` if an inode of that number is in
    /// memory, which for a free number means a corrupt bitmap.
    pub(crate) fn insert(self, ino: u64, generation: u32) -> Result<NewInode<'sb, F, Hashed>> {
        // SAFETY: By the type invariant not hashed, and nobody else sees it.
        unsafe {
            (*self.as_ptr()).i_ino = ino;
            (*self.as_ptr()).i_generation = generation;
            to_result(bindings::insert_inode_locked(self.as_ptr()))?;
        }
        // INVARIANT: Hashed, and `I_NEW` until it is published.
        Ok(self.into_stage())
    }
}

impl<'sb, F: FileSystem, S: Stage> NewInode<'sb, F, S> {
    /// Sets the file size in bytes, in memory. Nobody else looks before it is published.
    pub(crate) fn set_size(&self, size: u64) {
        Inode::set_size(self, size);
    }

    pub(super) fn into_stage<T: Stage>(self) -> NewInode<'sb, F, T> {
        NewInode {
            inode: ManuallyDrop::new(self).inode,
            _sb: PhantomData,
        }
    }

    /// Frees the text of [`NewInode::fast_symlink`].
    fn drop_link(&mut self) {
        let p = self.as_ptr();
        // SAFETY: By the type invariant the inode is ours. `i_link` is null until `fast_symlink`
        // stores a text that kmalloc gave; what shares its union is set by other types of inodes
        // only once they are visible.
        unsafe {
            let text = core::mem::replace(&mut (*p).__bindgen_anon_5.i_link, core::ptr::null_mut());
            bindings::kfree(text.cast());
        }
    }
}

impl<F: FileSystem, S: Unfinished> NewInode<'_, F, S> {
    /// Owner, group and mode of an inode made in directory `dir` by the current task.
    pub(crate) fn init_owner(&mut self, idmap: IdMap<'_>, dir: &Inode<F>, mode: u16) {
        // SAFETY: By the type invariant the inode is ours. The others are valid by those of their
        // types.
        unsafe {
            let mode = self.kept_type(mode);
            bindings::inode_init_owner(idmap.0, self.as_ptr(), dir.as_ptr(), mode)
        }
    }

    /// A mode, with the type that the inode has, if its key is set up, whoever did that: the keys
    /// of files and of names differ, and C looks at the mode to tell which it has.
    fn kept_type(&self, mode: u16) -> u16 {
        if !self.has_crypt_key() {
            return mode;
        }
        // CAST: It is part of a mode.
        let ty = bindings::S_IFMT as u16;
        mode & !ty | self.mode() & ty
    }

    /// The same, but the group is that of the directory whatever its mode, and a directory does not
    /// inherit the set-group-ID bit.
    pub(crate) fn init_owner_of_dir(&mut self, idmap: IdMap<'_>, dir: &Inode<F>, mode: u16) {
        let (new, dir) = (self.as_ptr(), dir.as_ptr());
        let mode = self.kept_type(mode);
        // SAFETY: As above; the group of a directory is a word, which chown may change meanwhile.
        unsafe {
            (*new).i_mode = mode;
            bindings::inode_fsuid_set(new, idmap.0);
            bindings::inode_gid_of(new, dir);
        }
    }

    /// Sets type and permissions of an inode read from disk.
    pub(crate) fn set_mode(&self, mode: u16) {
        let mode = self.kept_type(mode);
        // SAFETY: By the type invariant the inode is ours.
        unsafe { (*self.as_ptr()).i_mode = mode }
    }

    /// Sets the generation of a new inode, which nobody has seen before.
    pub(crate) fn set_first_generation(&self, generation: u32) {
        // SAFETY: By the type invariant the inode is ours.
        unsafe {
            (*self.as_ptr()).i_generation = generation;
            bindings::inode_set_iversion(self.as_ptr(), 1);
        }
    }

    /// Sets the generation and the change counter read from disk. Somebody may have seen that.
    pub(crate) fn set_generation(&self, generation: u32, version: u64) {
        // SAFETY: By the type invariant the inode is ours.
        unsafe {
            (*self.as_ptr()).i_generation = generation;
            bindings::inode_set_iversion_queried(self.as_ptr(), version);
        }
    }

    /// Sets the flags of the VFS.
    pub(crate) fn set_flags(&self, flags: InodeFlags) {
        // SAFETY: By the type invariant the inode is ours.
        unsafe { flags.store(self.as_ptr()) }
    }

    /// Sets owner and group as they stand on disk.
    pub(crate) fn set_owner(&self, uid: u32, gid: u32) {
        // SAFETY: By the type invariant the inode is ours.
        unsafe {
            bindings::i_uid_write(self.as_ptr(), uid);
            bindings::i_gid_write(self.as_ptr(), gid);
        }
    }

    /// Sets all three times.
    pub(crate) fn set_times(&self, atime: Time, mtime: Time, ctime: Time) {
        let p = self.as_ptr();
        // SAFETY: By the type invariant the inode is ours.
        unsafe {
            bindings::inode_set_atime(p, atime.sec, atime.nsec as isize);
            bindings::inode_set_mtime(p, mtime.sec, mtime.nsec as isize);
            bindings::inode_set_ctime(p, ctime.sec, ctime.nsec as isize);
        }
    }
}

impl<'sb, F: FileSystem> NewInode<'sb, F, Ready> {
    /// Makes the inode visible.
    pub(crate) fn publish(self) -> InodeRef<'sb, F> {
        let inode = ManuallyDrop::new(self).inode;
        // SAFETY: By the type invariant hashed and `I_NEW`; our count becomes the reference's.
        unsafe {
            bindings::unlock_new_inode(inode.as_ptr().cast());
            InodeRef::from_raw(inode.cast())
        }
    }

    /// Makes the inode visible under `dentry`, which takes the reference. The dentry is negative
    /// and of the same super block; else this only publishes.
    pub(crate) fn instantiate(self, dentry: &Dentry<F>) {
        if !dentry.accepts(&self) {
            drop(self.publish());
            return;
        }
        let inode = ManuallyDrop::new(self).inode;
        // SAFETY: By the type invariant hashed and `I_NEW`. The dentry is negative and locked by
        // the VFS, and they are of one super block.
        unsafe { bindings::d_instantiate_new(dentry.as_ptr(), inode.as_ptr().cast()) }
    }

    /// Makes the inode visible as that of a file without a name. C takes its one link before
    /// anybody can find it by its number, which is on the way to be without any.
    ///
    /// # Safety
    ///
    /// `file` is being opened and has a new dentry of the same super block.
    pub(in crate::vfs) unsafe fn publish_tmpfile(self, file: *mut bindings::file) {
        let inode: *mut bindings::inode = ManuallyDrop::new(self).inode.as_ptr().cast();
        // SAFETY: By the type invariant hashed and `I_NEW`, and our count becomes the dentry's,
        // which the caller keeps; `d_tmpfile` wants one link, to take it away.
        unsafe {
            bindings::set_nlink(inode, 1);
            bindings::d_tmpfile(file, inode);
            bindings::unlock_new_inode(inode);
        }
    }

    /// Gives up an inode whose number is allocated on disk: it becomes visible without links,
    /// and its eviction frees the number. Never inside a handle.
    pub(crate) fn discard(self) {
        self.set_nlink(0);
        drop(self.publish());
    }
}

impl<F: FileSystem, S: Stage> Drop for NewInode<'_, F, S> {
    fn drop(&mut self) {
        // A bad inode is a regular file, whose text nobody would free.
        self.drop_link();
        // SAFETY: By the type invariant we own the count. A hashed inode is `I_NEW`, as
        // `iget_failed` wants; one that is not hashed is marked bad so that its eviction does not
        // touch the disk.
        unsafe {
            if S::HASHED {
                bindings::iget_failed(self.as_ptr());
            } else {
                bindings::make_bad_inode(self.as_ptr());
                bindings::iput(self.as_ptr());
            }
        }
    }
}
