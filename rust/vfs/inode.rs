// SPDX-License-Identifier: GPL-2.0

//! Inodes: allocation with the file system's data, the new and ready states, fields and locks.
//!
//! C headers: [`include/linux/fs.h`](srctree/include/linux/fs.h)

mod cache;
mod kinds;
mod links;
mod lock;
mod new;
mod ops;

#[cfg(CONFIG_FS_ENCRYPTION)]
pub(super) use cache::crypt_offset;
pub(crate) use cache::InodeCache;
pub(super) use cache::{
    alloc_inode_callback,
    destroy_inode_callback,
    free_inode_callback,
    with_info, //
};
pub(crate) use lock::{InodeLock, InodeLockShared, InodeLocks};
pub(crate) use new::{Fresh, Hashed, Iget, NewInode, Ready, Stage};
pub(super) use ops::InodeTable;
pub(crate) use ops::{Attr, Attributes, InodeOps, Stat};

use super::{
    atomic::Atomic,
    bindings,
    super_block::{FileSystem, SuperBlock}, //
};
use core::{marker::PhantomData, mem::ManuallyDrop, ops::Deref, ptr::NonNull};
use kernel::{
    error::to_result,
    prelude::*,
    sync::atomic::Acquire,
    types::Opaque, //
};

/// A point in time, as inodes store it.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Time {
    /// Seconds since 1970.
    pub(crate) sec: i64,
    /// Nanoseconds, 0 to 999,999,999.
    pub(crate) nsec: u32,
}

/// The time of day.
pub(crate) fn now() -> Time {
    let mut ts = bindings::timespec64 {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: The pointer is valid.
    unsafe { bindings::ktime_get_real_ts64(&mut ts) };
    Time {
        sec: ts.tv_sec,
        nsec: ts.tv_nsec as u32,
    }
}

/// Attributes that the VFS keeps in `i_flags`.
#[derive(Clone, Copy, Default)]
pub(crate) struct InodeFlags {
    pub(crate) sync: bool,
    pub(crate) immutable: bool,
    pub(crate) append: bool,
    pub(crate) noatime: bool,
    pub(crate) dirsync: bool,
    /// Only where inodes can be encrypted ([`NewSuper::set_crypt`]).
    ///
    /// [`NewSuper::set_crypt`]: crate::vfs::super_block::NewSuper::set_crypt
    pub(crate) encrypted: bool,
}

impl InodeFlags {
    /// Puts them into `i_flags`, beside those that are not here.
    ///
    /// # Safety
    ///
    /// `inode` is valid, and nobody else changes these flags of it.
    unsafe fn store(self, inode: *mut bindings::inode) {
        // SAFETY: By the caller; an inode has its super block.
        let can_crypt = unsafe { bindings::has_crypt((*inode).i_sb) };
        let all = [
            (self.sync, bindings::S_SYNC),
            (self.immutable, bindings::S_IMMUTABLE),
            (self.append, bindings::S_APPEND),
            (self.noatime, bindings::S_NOATIME),
            (self.dirsync, bindings::S_DIRSYNC),
            (self.encrypted && can_crypt, bindings::S_ENCRYPTED),
        ];
        let (mut value, mut mask) = (0, 0);
        for (on, bit) in all {
            mask |= bit;
            if on {
                value |= bit;
            }
        }
        // SAFETY: By the caller; the mask names the bits that may change.
        unsafe { bindings::inode_set_flags(inode, value, mask) }
    }
}

/// An inode of file system `F`, borrowed, and with it its super block. It may be on its way out
/// ([`FileSystem::evict`]), so it cannot be made into an owned reference; [`HeldInode`] can.
///
/// # Invariants
///
/// A reference is to an inode of `F` with its [`WithInfo`](cache::WithInfo), valid with its super
/// block as long as the reference.
#[repr(transparent)]
pub(crate) struct Inode<F>(Opaque<bindings::inode>, PhantomData<F>);

// SAFETY: Inodes are shared by all threads by design; C helpers take the locks they need.
unsafe impl<F: FileSystem> Send for Inode<F> {}
// SAFETY: As above.
unsafe impl<F: FileSystem> Sync for Inode<F> {}

impl<F: FileSystem> Inode<F> {
    /// # Safety
    ///
    /// `ptr` is an inode of file system `F`, valid for `'a`, as is its super block: `'a` ends
    /// before `generic_shutdown_super` looks for busy inodes.
    pub(super) unsafe fn from_raw<'a>(ptr: *mut bindings::inode) -> &'a Self {
        // SAFETY: The type is transparent. INVARIANT: By the caller.
        unsafe { &*ptr.cast() }
    }

    pub(super) fn as_ptr(&self) -> *mut bindings::inode {
        self.0.get()
    }

    /// The file system's data of this inode.
    pub(crate) fn info(&self) -> &F::InodeInfo {
        // SAFETY: By the type invariant; `alloc_inode_callback` has initialised it.
        unsafe { (*with_info::<F>(self.as_ptr())).info.assume_init_ref() }
    }

    /// The super block.
    pub(crate) fn sb(&self) -> &SuperBlock<F> {
        // SAFETY: By the type invariant, for the super block too: an inode does not keep it. `i_sb`
        // is set at allocation and does not change.
        unsafe { SuperBlock::from_raw((*self.as_ptr()).i_sb) }
    }

    /// The file system's data.
    pub(crate) fn fs(&self) -> &F {
        self.sb().data()
    }

    /// Inode number.
    pub(crate) fn number(&self) -> u64 {
        // SAFETY: By the type invariant. Set before the inode is visible, then constant.
        unsafe { (*self.as_ptr()).i_ino }
    }

    /// File size in bytes, in memory.
    pub(crate) fn size(&self) -> u64 {
        const { assert!(usize::BITS == 64, "i_size_read() would be more than a load") };
        // SAFETY: By the type invariant; i_size_write() stores it at once.
        let size = unsafe { Atomic::from_ptr(&raw const (*self.as_ptr()).i_size) };
        size.load(Acquire) as u64
    }

    /// Sets the file size in bytes. File systems do that by way of what says that they may:
    /// [`InodeLock`], [`NewInode`], [`Evicted`], [`MaySleep`](super::dio::MaySleep), or of a
    /// directory [`Inode::set_dir_size`].
    pub(super) fn set_size(&self, size: u64) {
        // SAFETY: By the type invariant.
        unsafe { bindings::i_size_write(self.as_ptr(), size as i64) }
    }

    /// Type and permissions.
    pub(crate) fn mode(&self) -> u16 {
        // SAFETY: By the type invariant; a torn read of a `u16` cannot happen.
        unsafe { (&raw const (*self.as_ptr()).i_mode).read_volatile() }
    }

    fn has_type(&self, ty: u32) -> bool {
        u32::from(self.mode()) & bindings::S_IFMT == ty
    }

    /// Whether this is a regular file.
    pub(crate) fn is_file(&self) -> bool {
        self.has_type(bindings::S_IFREG)
    }

    /// Whether this is a directory.
    pub(crate) fn is_dir(&self) -> bool {
        self.has_type(bindings::S_IFDIR)
    }

    /// Whether this is a symbolic link.
    pub(crate) fn is_symlink(&self) -> bool {
        self.has_type(bindings::S_IFLNK)
    }

    /// Number of links.
    pub(crate) fn nlink(&self) -> u32 {
        // SAFETY: By the type invariant; the C side reads this field without a lock too.
        unsafe { (&raw const (*self.as_ptr()).__bindgen_anon_1.i_nlink).read_volatile() }
    }

    /// Sets the link count. The caller holds i_rwsem of a directory that names the inode.
    pub(crate) fn set_nlink(&self, nlink: u32) {
        // SAFETY: By the type invariant.
        unsafe { bindings::set_nlink(self.as_ptr(), nlink) }
    }

    /// Owner and group on disk (of the super block's user namespace).
    pub(crate) fn owner(&self) -> (u32, u32) {
        // SAFETY: By the type invariant.
        unsafe {
            (
                bindings::i_uid_read(self.as_ptr()),
                bindings::i_gid_read(self.as_ptr()),
            )
        }
    }

    fn time(
        &self,
        get: unsafe extern "C" fn(*mut bindings::inode, *mut bindings::timespec64),
    ) -> Time {
        let mut ts = bindings::timespec64 {
            tv_sec: 0,
            tv_nsec: 0,
        };
        // SAFETY: By the type invariant, and `ts` is ours.
        unsafe { get(self.as_ptr(), &mut ts) };
        Time {
            sec: ts.tv_sec,
            nsec: ts.tv_nsec as u32,
        }
    }

    /// Last access.
    pub(crate) fn atime(&self) -> Time {
        self.time(bindings::inode_get_atime)
    }

    /// Last change of content.
    pub(crate) fn mtime(&self) -> Time {
        self.time(bindings::inode_get_mtime)
    }

    /// Last change of the inode.
    pub(crate) fn ctime(&self) -> Time {
        self.time(bindings::inode_get_ctime)
    }

    /// Sets ctime to now, and counts a change.
    pub(crate) fn touch_ctime(&self) {
        // SAFETY: By the type invariant.
        unsafe { bindings::inode_set_ctime_current(self.as_ptr()) };
        self.inc_version();
    }

    /// Sets ctime and mtime to now, and counts a change.
    pub(crate) fn touch_mtime(&self) {
        // SAFETY: By the type invariant.
        unsafe { bindings::inode_set_mtime_to_ctime(self.as_ptr()) }
        self.inc_version();
    }

    /// Blocks held, in 512-byte units.
    pub(crate) fn blocks(&self) -> u64 {
        // SAFETY: By the type invariant; read without a lock, as `stat` does.
        unsafe { (&raw const (*self.as_ptr()).i_blocks).read_volatile() }
    }

    /// Sets the blocks held, in 512-byte units. The caller owns the extent lock (or the inode).
    pub(crate) fn set_blocks(&self, sectors: u64) {
        // SAFETY: By the type invariant; see above.
        unsafe { (&raw mut (*self.as_ptr()).i_blocks).write_volatile(sectors) }
    }

    /// Generation number, for NFS handles and checksums.
    pub(crate) fn generation(&self) -> u32 {
        // SAFETY: By the type invariant; read without a lock, as for a handle.
        unsafe { (&raw const (*self.as_ptr()).i_generation).read_volatile() }
    }

    /// The change counter, to be kept: nobody is shown it, so it need not move with the next
    /// change.
    pub(crate) fn version(&self) -> u64 {
        // SAFETY: By the type invariant.
        unsafe { bindings::inode_peek_iversion(self.as_ptr()) }
    }

    /// Counts a change, for who sets times by other functions.
    pub(crate) fn inc_version(&self) {
        // SAFETY: By the type invariant.
        unsafe { bindings::inode_inc_iversion(self.as_ptr()) }
    }

    /// Flags of the VFS (chattr's).
    pub(crate) fn flags(&self) -> InodeFlags {
        // SAFETY: By the type invariant.
        let f = unsafe { (&raw const (*self.as_ptr()).i_flags).read_volatile() };
        InodeFlags {
            sync: f & bindings::S_SYNC != 0,
            immutable: f & bindings::S_IMMUTABLE != 0,
            append: f & bindings::S_APPEND != 0,
            noatime: f & bindings::S_NOATIME != 0,
            dirsync: f & bindings::S_DIRSYNC != 0,
            encrypted: f & bindings::S_ENCRYPTED != 0,
        }
    }

    /// Whether changes must be durable before the system call returns.
    pub(crate) fn is_sync(&self) -> bool {
        // SAFETY: By the type invariant.
        unsafe { bindings::is_sync(self.as_ptr()) }
    }

    /// The same for changes of a directory.
    pub(crate) fn is_dirsync(&self) -> bool {
        // SAFETY: By the type invariant.
        unsafe { bindings::is_dirsync(self.as_ptr()) }
    }

    /// Whether the inode is in use as a swap file.
    pub(crate) fn is_swapfile(&self) -> bool {
        // SAFETY: By the type invariant.
        unsafe { bindings::is_swapfile(self.as_ptr()) }
    }

    /// Whether the current task has been killed, so that long loops can stop.
    pub(crate) fn interrupted(&self) -> bool {
        // SAFETY: Looks at the current task only.
        unsafe { bindings::fatal_signal_pending() }
    }

    /// Whether the current task has been killed, or shall freeze for a suspend: for loops that may
    /// end early.
    pub(crate) fn should_return(&self) -> bool {
        // SAFETY: Looks at the current task only.
        unsafe { bindings::should_return() }
    }

    /// For each round of a loop that may take long: lets others run. `EINTR` if the current task
    /// has been killed. Sleeps; not where half of something is done.
    pub(crate) fn go_on(&self) -> Result {
        // SAFETY: In a context that may sleep, as the caller's is.
        unsafe { bindings::cond_resched() };
        if self.interrupted() {
            Err(EINTR)
        } else {
            Ok(())
        }
    }

    /// Whether it is being set up and not yet visible.
    pub(crate) fn is_new(&self) -> bool {
        // SAFETY: By the type invariant.
        unsafe { bindings::inode_is_new(self.as_ptr()) }
    }

    /// Checks a new file size against limits; sends SIGXFSZ.
    pub(crate) fn newsize_ok(&self, size: u64) -> Result {
        // SAFETY: By the type invariant.
        to_result(unsafe { bindings::inode_newsize_ok(self.as_ptr(), size as i64) })
    }
}

/// An inode that somebody holds a reference to, so that an [`InodeRef`] can be made of it.
///
/// # Invariants
///
/// A reference is to an inode of which somebody keeps a count as long.
#[repr(transparent)]
pub(crate) struct HeldInode<F: FileSystem>(Inode<F>);

impl<F: FileSystem> Deref for HeldInode<F> {
    type Target = Inode<F>;
    fn deref(&self) -> &Inode<F> {
        &self.0
    }
}

/// A reference to an inode that we own.
///
/// It borrows the super block. The count of an inode keeps only the inode's memory: unmount does
/// not wait for it, it poisons what it finds in use (`generic_shutdown_super`), and then nothing
/// keeps the module either. So a file system cannot put one into its own data, which goes after
/// that, or into a work item:
///
/// ```text
///   unmount                                     a work item that owns an inode
///   evicts all that nobody holds
///   put_super
///   poisons i_sb of the rest
///   the file system's data goes
///                                               inode.sb()     <- poison
/// ```
///
/// Dropping the last reference of an unlinked inode evicts it, which takes folio locks and
/// starts a transaction: never inside a handle.
///
/// # Invariants
///
/// The pointer is to an inode of `F` of which we own a count (`i_count`).
pub(crate) struct InodeRef<'sb, F: FileSystem>(
    NonNull<HeldInode<F>>,
    PhantomData<&'sb SuperBlock<F>>,
);

// SAFETY: The count is atomic; any thread may drop the last reference.
unsafe impl<F: FileSystem> Send for InodeRef<'_, F> {}
// SAFETY: Lends a `&HeldInode`, which is shared by all threads.
unsafe impl<F: FileSystem> Sync for InodeRef<'_, F> {}

impl<F: FileSystem> InodeRef<'_, F> {
    /// # Safety
    ///
    /// `ptr` is an inode of `F`, the caller owns a count of it and gives it up, and its super
    /// block lives for the lifetime (see [`Inode::from_raw`]).
    pub(super) unsafe fn from_raw(ptr: NonNull<bindings::inode>) -> Self {
        // INVARIANT: By the caller.
        Self(ptr.cast(), PhantomData)
    }

    /// Gives the count to the caller.
    pub(super) fn into_raw(self) -> *mut bindings::inode {
        ManuallyDrop::new(self).as_ptr()
    }
}

impl<'a, F: FileSystem> From<&'a HeldInode<F>> for InodeRef<'a, F> {
    fn from(inode: &'a HeldInode<F>) -> Self {
        // SAFETY: By the type invariant and referenced, so its count is not zero.
        unsafe { bindings::ihold(inode.as_ptr()) };
        // INVARIANT: Counted just now.
        Self(NonNull::from(inode), PhantomData)
    }
}

impl<F: FileSystem> Deref for InodeRef<'_, F> {
    type Target = HeldInode<F>;
    fn deref(&self) -> &HeldInode<F> {
        // SAFETY: By the type invariant; the super block is borrowed for longer than `self`.
        unsafe { self.0.as_ref() }
    }
}

impl<F: FileSystem> Drop for InodeRef<'_, F> {
    fn drop(&mut self) {
        // SAFETY: By the type invariant the count is ours to give up.
        unsafe { bindings::iput(self.as_ptr()) }
    }
}

/// An inode on its way out ([`FileSystem::evict`]). Nobody else has it, so no lock of it is asked
/// for.
pub(crate) struct Evicted<'a, F>(&'a Inode<F>);

impl<'a, F: FileSystem> Evicted<'a, F> {
    /// # Safety
    ///
    /// As for [`Inode::from_raw`], and the inode is in state `I_FREEING` as long as `'a`.
    pub(super) unsafe fn from_raw(ptr: *mut bindings::inode) -> Self {
        // SAFETY: By the caller.
        Self(unsafe { Inode::from_raw(ptr) })
    }

    /// Sets the file size in bytes, in memory.
    pub(crate) fn set_size(&self, size: u64) {
        self.0.set_size(size);
    }
}

impl<F> Deref for Evicted<'_, F> {
    type Target = Inode<F>;

    fn deref(&self) -> &Inode<F> {
        self.0
    }
}

/// How user and group ids map between the mount and the file system.
///
/// # Invariants
///
/// The pointer is valid for the lifetime.
#[derive(Clone, Copy)]
pub(crate) struct IdMap<'a>(
    pub(in crate::vfs) *mut bindings::mnt_idmap,
    pub(super) PhantomData<&'a ()>,
);
