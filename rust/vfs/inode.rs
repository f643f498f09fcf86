// SPDX-License-Identifier: GPL-2.0

//! Inodes: allocation with the file system's data, the new and ready states, fields and locks.
//!
//! C headers: [`include/linux/fs.h`](srctree/include/linux/fs.h)

use super::{
    bindings,
    namei::{Namei, Tables},
    super_block::{FileSystem, Registration, SuperBlock},
    work::Workqueue,
    writeback::Completions, //
};
use core::{
    marker::PhantomData,
    mem::{offset_of, ManuallyDrop, MaybeUninit},
    ops::Deref,
    ptr::{self, NonNull}, //
};
use kernel::{
    error::to_result,
    prelude::*,
    str::CStr,
    sync::{
        aref::{ARef, AlwaysRefCounted},
        Arc, //
    },
    types::{NotThreadSafe, Opaque}, //
};

/// What an inode of file system `F` is in memory: the VFS inode and our data in one object.
#[repr(C)]
pub(super) struct WithNode<F: FileSystem> {
    node: MaybeUninit<F::Node>,
    /// Where the object goes back to. Kept here because the RCU free may run after the super
    /// block is gone.
    slab: *mut bindings::kmem_cache,
    pub(super) completions: Completions,
    inode: bindings::inode,
}

/// The slab cache of the inodes of `F`, and the queue where their writeback completes.
pub(crate) struct InodeCache<F: FileSystem> {
    slab: NonNull<bindings::kmem_cache>,
    queue: Workqueue,
    _fs: PhantomData<F>,
}

// SAFETY: Slab caches may be used by any thread.
unsafe impl<F: FileSystem> Send for InodeCache<F> {}
// SAFETY: As above.
unsafe impl<F: FileSystem> Sync for InodeCache<F> {}

impl<F: FileSystem> InodeCache<F> {
    /// Creates the cache. `name` appears in /proc/slabinfo.
    pub(crate) fn new(name: &'static CStr) -> Result<Arc<Self>> {
        extern "C" fn init_once<F: FileSystem>(obj: *mut c_void) {
            // SAFETY: The slab allocator passes the memory of a new object.
            unsafe { bindings::inode_init_once(&raw mut (*obj.cast::<WithNode<F>>()).inode) }
        }
        let queue = Workqueue::new(name)?;
        // SAFETY: The name is static; the constructor has the right type.
        let slab = unsafe {
            bindings::rext4_helper_inode_cache(
                name.as_char_ptr(),
                size_of::<WithNode<F>>() as c_uint,
                Some(init_once::<F>),
            )
        };
        let slab = NonNull::new(slab).ok_or(ENOMEM)?;
        Ok(Arc::new(
            Self {
                slab,
                queue,
                _fs: PhantomData,
            },
            GFP_KERNEL,
        )?)
    }
}

impl<F: FileSystem> Drop for InodeCache<F> {
    fn drop(&mut self) {
        // SAFETY: The file system is unregistered. Inodes are freed by RCU callbacks, which
        // `rcu_barrier` waits for; then the cache is empty.
        unsafe {
            bindings::rcu_barrier();
            bindings::kmem_cache_destroy(self.slab.as_ptr());
        }
    }
}

pub(super) unsafe extern "C" fn alloc_inode_callback<F: Namei>(
    sb: *mut bindings::super_block,
) -> *mut bindings::inode {
    // SAFETY: The super block is one of `F`.
    let cache = unsafe { Registration::<F>::cache_of(sb) };
    let slab = cache.slab.as_ptr();
    // SAFETY: The cache is valid and accounts to the super block's inode LRU.
    let obj = unsafe { bindings::rext4_helper_alloc_inode_sb(sb, slab) }.cast::<WithNode<F>>();
    if obj.is_null() {
        return ptr::null_mut();
    }
    // SAFETY: The object is ours and uninitialised but for `inode`, which the slab constructor
    // set up; it does not move until it is freed.
    unsafe {
        (&raw mut (*obj).slab).write(slab);
        Completions::init::<F>(&raw mut (*obj).completions, cache.queue.as_ptr());
        let node = (&raw mut (*obj).node).cast::<F::Node>();
        if pin_init::raw_try_init(node, F::new_node()).is_err() {
            bindings::kmem_cache_free(slab, obj.cast());
            return ptr::null_mut();
        }
        &raw mut (*obj).inode
    }
}

pub(super) unsafe extern "C" fn free_inode_callback<F: FileSystem>(inode: *mut bindings::inode) {
    // SAFETY: The VFS frees each inode once, after a grace period: nobody looks at it.
    unsafe {
        let obj = with_node::<F>(inode);
        free_link(inode);
        (&raw mut (*obj).node).cast::<F::Node>().drop_in_place();
        bindings::kmem_cache_free((*obj).slab, obj.cast());
    }
}

/// # Safety
///
/// `inode` was allocated by [`alloc_inode_callback`] of `F`.
pub(super) unsafe fn with_node<F: FileSystem>(inode: *mut bindings::inode) -> *mut WithNode<F> {
    // SAFETY: By the caller, the inode is embedded in a `WithNode`.
    unsafe { inode.byte_sub(offset_of!(WithNode<F>, inode)).cast() }
}

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
}

/// An inode of file system `F`, borrowed. It may be on its way out ([`FileSystem::evict`]), so
/// it cannot be made into an owned reference; [`INode`] can.
#[repr(transparent)]
pub(crate) struct Inode<F>(Opaque<bindings::inode>, PhantomData<F>);

// SAFETY: Inodes are shared by all threads by design; C helpers take the locks they need.
unsafe impl<F: FileSystem> Send for Inode<F> {}
// SAFETY: As above.
unsafe impl<F: FileSystem> Sync for Inode<F> {}

impl<F: FileSystem> Inode<F> {
    /// # Safety
    ///
    /// `ptr` is an inode of file system `F`, valid for `'a`.
    pub(super) unsafe fn from_raw<'a>(ptr: *mut bindings::inode) -> &'a Self {
        // SAFETY: The type is transparent and the caller guarantees validity.
        unsafe { &*ptr.cast() }
    }

    pub(super) fn as_ptr(&self) -> *mut bindings::inode {
        self.0.get()
    }

    /// The file system's data of this inode.
    pub(crate) fn node(&self) -> &F::Node {
        // SAFETY: `alloc_inode_callback` initialised the node; it lives as long as the inode.
        unsafe { (*with_node::<F>(self.as_ptr())).node.assume_init_ref() }
    }

    /// The super block.
    pub(crate) fn sb(&self) -> &SuperBlock<F> {
        // SAFETY: An inode keeps its super block.
        unsafe { SuperBlock::from_raw((*self.as_ptr()).i_sb) }
    }

    /// The file system's data.
    pub(crate) fn fs(&self) -> &F {
        self.sb().data()
    }

    /// Inode number.
    pub(crate) fn ino(&self) -> u32 {
        // SAFETY: Set before the inode is visible, then constant.
        unsafe { (*self.as_ptr()).i_ino as u32 }
    }

    /// File size in bytes, in memory.
    pub(crate) fn size(&self) -> u64 {
        // SAFETY: The inode is valid.
        unsafe { bindings::rext4_helper_i_size_read(self.as_ptr()) as u64 }
    }

    /// Sets the file size in bytes. The caller holds i_rwsem exclusive (or the inode is new).
    pub(crate) fn set_size(&self, size: u64) {
        // SAFETY: The inode is valid.
        unsafe { bindings::rext4_helper_i_size_write(self.as_ptr(), size as i64) }
    }

    /// Type and permissions.
    pub(crate) fn mode(&self) -> u16 {
        // SAFETY: The inode is valid; a torn read of a `u16` cannot happen.
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
        // SAFETY: The inode is valid; the C side reads this field without a lock too.
        unsafe { (&raw const (*self.as_ptr()).__bindgen_anon_1.i_nlink).read_volatile() }
    }

    /// Sets the link count. The caller holds i_rwsem of a directory that names the inode.
    pub(crate) fn set_nlink(&self, nlink: u32) {
        // SAFETY: The inode is valid.
        unsafe { bindings::set_nlink(self.as_ptr(), nlink) }
    }

    /// Owner and group on disk (of the super block's user namespace).
    pub(crate) fn owner(&self) -> (u32, u32) {
        // SAFETY: The inode is valid.
        unsafe {
            (
                bindings::rext4_helper_i_uid_read(self.as_ptr()),
                bindings::rext4_helper_i_gid_read(self.as_ptr()),
            )
        }
    }

    /// Sets owner and group as they stand on disk.
    pub(crate) fn set_owner(&self, uid: u32, gid: u32) {
        // SAFETY: The inode is valid.
        unsafe {
            bindings::rext4_helper_i_uid_write(self.as_ptr(), uid);
            bindings::rext4_helper_i_gid_write(self.as_ptr(), gid);
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
        // SAFETY: Both pointers are valid.
        unsafe { get(self.as_ptr(), &mut ts) };
        Time {
            sec: ts.tv_sec,
            nsec: ts.tv_nsec as u32,
        }
    }

    /// Last access.
    pub(crate) fn atime(&self) -> Time {
        self.time(bindings::rext4_helper_inode_get_atime)
    }

    /// Last change of content.
    pub(crate) fn mtime(&self) -> Time {
        self.time(bindings::rext4_helper_inode_get_mtime)
    }

    /// Last change of the inode.
    pub(crate) fn ctime(&self) -> Time {
        self.time(bindings::rext4_helper_inode_get_ctime)
    }

    /// Sets all three times, when an inode is read or made.
    pub(crate) fn set_times(&self, atime: Time, mtime: Time, ctime: Time) {
        let p = self.as_ptr();
        // SAFETY: The inode is valid.
        unsafe {
            bindings::rext4_helper_inode_set_atime(p, atime.sec, atime.nsec as isize);
            bindings::rext4_helper_inode_set_mtime(p, mtime.sec, mtime.nsec as isize);
            bindings::rext4_helper_inode_set_ctime(p, ctime.sec, ctime.nsec as isize);
        }
    }

    /// Sets ctime to now.
    pub(crate) fn touch_ctime(&self) {
        // SAFETY: The inode is valid.
        unsafe { bindings::inode_set_ctime_current(self.as_ptr()) };
    }

    /// Sets ctime and mtime to now.
    pub(crate) fn touch_mtime(&self) {
        // SAFETY: The inode is valid.
        unsafe { bindings::rext4_helper_inode_set_mtime_to_ctime(self.as_ptr()) }
    }

    /// Blocks held, in 512-byte units.
    pub(crate) fn blocks(&self) -> u64 {
        // SAFETY: The inode is valid; read without a lock, as `stat` does.
        unsafe { (&raw const (*self.as_ptr()).i_blocks).read_volatile() }
    }

    /// Sets the blocks held, in 512-byte units. The caller owns the extent lock (or the inode).
    pub(crate) fn set_blocks(&self, sectors: u64) {
        // SAFETY: The inode is valid; see above.
        unsafe { (&raw mut (*self.as_ptr()).i_blocks).write_volatile(sectors) }
    }

    /// Generation number, for NFS handles and checksums.
    pub(crate) fn generation(&self) -> u32 {
        // SAFETY: Set before the inode is visible, then constant.
        unsafe { (*self.as_ptr()).i_generation }
    }

    /// The change counter, marked as seen.
    pub(crate) fn version(&self) -> u64 {
        // SAFETY: The inode is valid.
        unsafe { bindings::rext4_helper_inode_query_iversion(self.as_ptr()) }
    }

    /// Counts a change.
    pub(crate) fn inc_version(&self) {
        // SAFETY: The inode is valid.
        unsafe { bindings::rext4_helper_inode_inc_iversion(self.as_ptr()) }
    }

    /// Device number of a device node, in the kernel's encoding.
    pub(crate) fn rdev(&self) -> u32 {
        // SAFETY: Set before the inode is visible, then constant.
        unsafe { (*self.as_ptr()).i_rdev }
    }

    /// Flags of the VFS (chattr's).
    pub(crate) fn flags(&self) -> InodeFlags {
        // SAFETY: The inode is valid.
        let f = unsafe { (&raw const (*self.as_ptr()).i_flags).read_volatile() };
        InodeFlags {
            sync: f & bindings::S_SYNC != 0,
            immutable: f & bindings::S_IMMUTABLE != 0,
            append: f & bindings::S_APPEND != 0,
            noatime: f & bindings::S_NOATIME != 0,
            dirsync: f & bindings::S_DIRSYNC != 0,
        }
    }

    /// Whether changes must be durable before the system call returns.
    pub(crate) fn is_sync(&self) -> bool {
        // SAFETY: The inode is valid.
        unsafe { bindings::rext4_helper_is_sync(self.as_ptr()) }
    }

    /// The same for changes of a directory.
    pub(crate) fn is_dirsync(&self) -> bool {
        // SAFETY: The inode is valid.
        unsafe { bindings::rext4_helper_is_dirsync(self.as_ptr()) }
    }

    /// Whether the inode is in use as a swap file.
    pub(crate) fn is_swapfile(&self) -> bool {
        // SAFETY: The inode is valid.
        unsafe { bindings::rext4_helper_is_swapfile(self.as_ptr()) }
    }

    /// Marks the inode dirty: the file system's `dirty_inode` runs at once, in this context, so
    /// the caller holds neither the extent lock nor an allocator lock.
    pub(crate) fn mark_dirty(&self) {
        let flags = bindings::inode_state_flags_enum_I_DIRTY_SYNC
            | bindings::inode_state_flags_enum_I_DIRTY_DATASYNC;
        // SAFETY: The inode is valid.
        unsafe { bindings::__mark_inode_dirty(self.as_ptr(), flags as c_int) }
    }

    /// Whether the current task has been killed, so that long loops can stop.
    pub(crate) fn interrupted(&self) -> bool {
        // SAFETY: Looks at the current task only.
        unsafe { bindings::rext4_helper_fatal_signal_pending() }
    }

    /// Whether it is being set up and not yet visible.
    pub(crate) fn is_new(&self) -> bool {
        // SAFETY: The inode is valid.
        unsafe { bindings::rext4_helper_inode_is_new(self.as_ptr()) }
    }

    /// i_rwsem, exclusive.
    pub(crate) fn lock(&self) -> InodeLock<'_, F> {
        // SAFETY: The inode is valid; the guard unlocks.
        unsafe { bindings::rext4_helper_inode_lock(self.as_ptr()) };
        InodeLock(self, NotThreadSafe)
    }

    /// i_rwsem, exclusive, or `EAGAIN`.
    pub(crate) fn try_lock(&self) -> Result<InodeLock<'_, F>> {
        // SAFETY: As in `lock`.
        match unsafe { bindings::rext4_helper_inode_trylock(self.as_ptr()) } {
            true => Ok(InodeLock(self, NotThreadSafe)),
            false => Err(EAGAIN),
        }
    }

    /// i_rwsem, shared.
    pub(crate) fn lock_shared(&self) -> InodeLockShared<'_, F> {
        // SAFETY: As in `lock`.
        unsafe { bindings::rext4_helper_inode_lock_shared(self.as_ptr()) };
        InodeLockShared(self, NotThreadSafe)
    }

    /// i_rwsem, shared, or `EAGAIN`.
    pub(crate) fn try_lock_shared(&self) -> Result<InodeLockShared<'_, F>> {
        // SAFETY: As in `lock`.
        match unsafe { bindings::rext4_helper_inode_trylock_shared(self.as_ptr()) } {
            true => Ok(InodeLockShared(self, NotThreadSafe)),
            false => Err(EAGAIN),
        }
    }

    /// Waits for all direct I/O in flight. The caller holds i_rwsem exclusive, so none starts.
    pub(crate) fn dio_wait(&self, _lock: &InodeLock<'_, F>) {
        // SAFETY: The inode is valid.
        unsafe { bindings::inode_dio_wait(self.as_ptr()) }
    }

    /// Checks a new file size against limits; sends SIGXFSZ.
    pub(crate) fn newsize_ok(&self, size: u64) -> Result {
        // SAFETY: The inode is valid.
        to_result(unsafe { bindings::inode_newsize_ok(self.as_ptr(), size as i64) })
    }
}

/// i_rwsem held exclusive.
#[must_use]
pub(crate) struct InodeLock<'a, F: FileSystem>(pub(super) &'a Inode<F>, NotThreadSafe);

impl<'a, F: FileSystem> InodeLock<'a, F> {
    /// The lock that the VFS holds around a callback (setattr, namespace operations).
    ///
    /// # Safety
    ///
    /// i_rwsem of `inode` is held exclusive for `'a` by this thread, and released by the VFS.
    pub(super) unsafe fn assume(inode: &'a Inode<F>) -> ManuallyDrop<Self> {
        ManuallyDrop::new(Self(inode, NotThreadSafe))
    }

    /// Turns the lock into a shared one without a gap.
    pub(crate) fn downgrade(self) -> InodeLockShared<'a, F> {
        let inode = self.0;
        core::mem::forget(self);
        // SAFETY: We hold it exclusive.
        unsafe { bindings::rext4_helper_inode_downgrade(inode.as_ptr()) };
        InodeLockShared(inode, NotThreadSafe)
    }
}

impl<F: FileSystem> Drop for InodeLock<'_, F> {
    fn drop(&mut self) {
        // SAFETY: The guard owns the lock.
        unsafe { bindings::rext4_helper_inode_unlock(self.0.as_ptr()) }
    }
}

/// i_rwsem held shared.
#[must_use]
pub(crate) struct InodeLockShared<'a, F: FileSystem>(&'a Inode<F>, NotThreadSafe);

impl<F: FileSystem> Drop for InodeLockShared<'_, F> {
    fn drop(&mut self) {
        // SAFETY: The guard owns the lock.
        unsafe { bindings::rext4_helper_inode_unlock_shared(self.0.as_ptr()) }
    }
}

/// An inode that somebody holds a reference to, so that it can be owned by [`ARef`].
///
/// Dropping the last reference of an unlinked inode evicts it, which takes folio locks and
/// starts a transaction: never inside a handle.
#[repr(transparent)]
pub(crate) struct INode<F: FileSystem>(Inode<F>);

impl<F: FileSystem> Deref for INode<F> {
    type Target = Inode<F>;
    fn deref(&self) -> &Inode<F> {
        &self.0
    }
}

// SAFETY: ihold and iput count references to the inode, which lives while there is one.
unsafe impl<F: FileSystem> AlwaysRefCounted for INode<F> {
    fn inc_ref(&self) {
        // SAFETY: The inode is valid and referenced.
        unsafe { bindings::ihold(self.as_ptr()) }
    }

    unsafe fn dec_ref(obj: NonNull<Self>) {
        // SAFETY: By the caller there is a reference to give up.
        unsafe { bindings::iput(obj.as_ptr().cast()) }
    }
}

/// What [`SuperBlock::iget`] finds.
pub(crate) enum Iget<F: Namei> {
    /// It was in memory.
    Ready(ARef<INode<F>>),
    /// It is new and locked; the caller reads it from disk.
    New(NewInode<F>),
}

/// A new inode, invisible to others (`I_NEW`) until [`NewInode::publish`]. Dropped before that,
/// it becomes a bad inode and goes away.
pub(crate) struct NewInode<F: Namei> {
    inode: NonNull<Inode<F>>,
    hashed: bool,
}

impl<F: Namei> Deref for NewInode<F> {
    type Target = Inode<F>;
    fn deref(&self) -> &Inode<F> {
        // SAFETY: We own a reference.
        unsafe { self.inode.as_ref() }
    }
}

impl<F: Namei> SuperBlock<F> {
    /// Looks inode `ino` up in the inode cache or makes a new one to be read.
    pub(crate) fn iget(&self, ino: u32) -> Result<Iget<F>> {
        // SAFETY: The super block is valid.
        let inode = unsafe { bindings::iget_locked(self.as_ptr(), ino.into()) };
        let inode = NonNull::new(inode.cast::<Inode<F>>()).ok_or(ENOMEM)?;
        // SAFETY: We own a reference to a valid inode.
        if unsafe { inode.as_ref() }.is_new() {
            return Ok(Iget::New(NewInode {
                inode,
                hashed: true,
            }));
        }
        // SAFETY: The reference of `iget_locked` becomes the `ARef`'s.
        let inode = unsafe { ARef::<INode<F>>::from_raw(inode.cast()) };
        // SAFETY: The inode is valid.
        if unsafe { bindings::is_bad_inode(inode.as_ptr()) } {
            return Err(EIO);
        }
        Ok(Iget::Ready(inode))
    }

    /// A fresh inode that is not on disk yet; it has no number.
    pub(crate) fn new_inode(&self) -> Result<NewInode<F>> {
        // SAFETY: The super block is valid.
        let inode = unsafe { bindings::new_inode(self.as_ptr()) };
        let inode = NonNull::new(inode.cast()).ok_or(ENOMEM)?;
        Ok(NewInode {
            inode,
            hashed: false,
        })
    }
}

impl<F: Namei> NewInode<F> {
    /// Gives a fresh inode its number and hashes it. `EBUSY` if an inode of that number is in
    /// memory, which for a free number means a corrupt bitmap.
    pub(crate) fn insert(&mut self, ino: u32, generation: u32) -> Result {
        // SAFETY: We own the inode, nobody else sees it.
        unsafe {
            (*self.as_ptr()).i_ino = ino.into();
            (*self.as_ptr()).i_generation = generation;
            to_result(bindings::insert_inode_locked(self.as_ptr()))?;
        }
        self.hashed = true;
        Ok(())
    }

    /// Owner, group and mode of an inode made in directory `dir` by the current task.
    pub(crate) fn init_owner(&mut self, idmap: IdMap<'_>, dir: &Inode<F>, mode: u16) {
        // SAFETY: All pointers are valid; the inode is ours.
        unsafe { bindings::inode_init_owner(idmap.0, self.as_ptr(), dir.as_ptr(), mode) }
    }

    /// Sets type and permissions of an inode read from disk.
    pub(crate) fn set_mode(&mut self, mode: u16) {
        // SAFETY: The inode is ours.
        unsafe { (*self.as_ptr()).i_mode = mode }
    }

    /// Sets the generation and the change counter read from disk.
    pub(crate) fn set_generation(&mut self, generation: u32, version: u64) {
        // SAFETY: The inode is ours.
        unsafe {
            (*self.as_ptr()).i_generation = generation;
            bindings::rext4_helper_inode_set_iversion_queried(self.as_ptr(), version);
        }
    }

    /// Sets the flags of the VFS.
    pub(crate) fn set_flags(&mut self, flags: InodeFlags) {
        let bit = |on: bool, flag: u32| if on { flag } else { 0 };
        let value = bit(flags.sync, bindings::S_SYNC)
            | bit(flags.immutable, bindings::S_IMMUTABLE)
            | bit(flags.append, bindings::S_APPEND)
            | bit(flags.noatime, bindings::S_NOATIME)
            | bit(flags.dirsync, bindings::S_DIRSYNC);
        // SAFETY: The inode is ours; the mask names the bits that may change.
        unsafe {
            bindings::inode_set_flags(
                self.as_ptr(),
                value,
                bindings::S_SYNC
                    | bindings::S_IMMUTABLE
                    | bindings::S_APPEND
                    | bindings::S_NOATIME
                    | bindings::S_DIRSYNC,
            )
        }
    }

    /// Attaches the operations for the inode's type. `fast_link`: the target of a short symbolic
    /// link, which then lives in memory with the inode. `rdev`: of a device node.
    pub(crate) fn set_operations(&mut self, fast_link: Option<&[u8]>, rdev: u32) -> Result {
        let p = self.as_ptr();
        let mode = u32::from(self.mode());
        // SAFETY: The inode is ours; the tables are static and made for `F`.
        unsafe {
            match mode & bindings::S_IFMT {
                bindings::S_IFREG => {
                    (*p).i_op = &Tables::<F>::FILE_INODE;
                    (*p).__bindgen_anon_3.i_fop = &Tables::<F>::FILE;
                    (*(*p).i_mapping).a_ops = &Tables::<F>::ADDRESS_SPACE;
                    bindings::rext4_helper_mapping_set_large_folios((*p).i_mapping);
                }
                bindings::S_IFDIR => {
                    (*p).i_op = &Tables::<F>::DIR_INODE;
                    (*p).__bindgen_anon_3.i_fop = &Tables::<F>::DIR;
                }
                bindings::S_IFLNK => match fast_link {
                    Some(target) => {
                        let text = CString::from_bytes(target)?;
                        (*p).__bindgen_anon_5.i_link = text.into_raw();
                        (*p).i_op = &Tables::<F>::FAST_SYMLINK;
                    }
                    None => (*p).i_op = &Tables::<F>::SYMLINK,
                },
                _ => {
                    (*p).i_op = &Tables::<F>::SPECIAL;
                    bindings::init_special_inode(p, mode as u16, rdev);
                }
            }
        }
        Ok(())
    }

    /// Makes the inode visible.
    pub(crate) fn publish(self) -> ARef<INode<F>> {
        let inode = ManuallyDrop::new(self).inode;
        // SAFETY: The inode is hashed and `I_NEW`; our reference becomes the `ARef`'s.
        unsafe {
            bindings::unlock_new_inode(inode.as_ptr().cast());
            ARef::from_raw(inode.cast())
        }
    }

    /// Makes the inode visible under `dentry`, which takes the reference.
    pub(crate) fn instantiate(self, dentry: &super::Dentry<F>) {
        let inode = ManuallyDrop::new(self).inode;
        // SAFETY: The inode is hashed and `I_NEW`, the dentry negative and locked by the VFS.
        unsafe { bindings::d_instantiate_new(dentry.as_ptr(), inode.as_ptr().cast()) }
    }

    /// Gives up an inode whose number is allocated on disk: it becomes visible without links,
    /// and its eviction frees the number. Never inside a handle.
    pub(crate) fn discard(self) {
        self.set_nlink(0);
        drop(self.publish());
    }
}

impl<F: Namei> Drop for NewInode<F> {
    fn drop(&mut self) {
        // SAFETY: We own the reference. A hashed inode is `I_NEW`, as `iget_failed` wants; one
        // that is not hashed is marked bad so that its eviction does not touch the disk.
        unsafe {
            if self.hashed {
                bindings::iget_failed(self.as_ptr());
            } else {
                bindings::make_bad_inode(self.as_ptr());
                bindings::iput(self.as_ptr());
            }
        }
    }
}

/// How user and group ids map between the mount and the file system.
#[derive(Clone, Copy)]
pub(crate) struct IdMap<'a>(
    pub(super) *mut bindings::mnt_idmap,
    pub(super) PhantomData<&'a ()>,
);

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

/// Frees the `i_link` text of a short symbolic link.
///
/// # Safety
///
/// Called once, from the RCU free of the inode.
pub(super) unsafe fn free_link(inode: *mut bindings::inode) {
    // SAFETY: The inode is valid; `i_link` shares a union with pointers that only other types
    // of inodes use.
    unsafe {
        if u32::from((*inode).i_mode) & bindings::S_IFMT == bindings::S_IFLNK {
            bindings::kfree((*inode).__bindgen_anon_5.i_link.cast());
        }
    }
}
