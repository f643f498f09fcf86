// SPDX-License-Identifier: GPL-2.0

//! Super blocks: the file system as a type and its super operations.
//!
//! C headers: [`include/linux/fs.h`](srctree/include/linux/fs.h),
//! [`include/linux/fs/super_types.h`](srctree/include/linux/fs/super_types.h)

mod fill;
mod folder;
mod later;
mod new;
mod outside;
mod part;
mod register;
mod remount;
mod table;

pub(super) use fill::fill_super_callback;
pub(crate) use folder::SysFile;
pub(crate) use later::Later;
pub(crate) use new::NewSuper;
pub(super) use part::Part;
pub(crate) use part::Parts;
pub(super) use register::cache_of;
pub(crate) use register::{Describe, FsModule};
pub(crate) use remount::Remount;

use super::{
    bh::BufferHead,
    bindings,
    blkdev::BlockDevice,
    fs_context::MountLog,
    inode::{Evicted, Inode, InodeRef},
    memory::DaxDevice,
    work::Workqueue,
    writeback::{Writeback, WritebackControl}, //
};
use crate::vfs::atomic::Atomic;
use core::{
    marker::PhantomData,
    ptr, //
};
use kernel::{
    build_error,
    error::{to_result, VTABLE_DEFAULT_ERROR},
    prelude::*,
    seq_file::SeqFile,
    str::CStr,
    sync::atomic::ordering,
    time::{delay::fsleep, Delta},
    types::{NotThreadSafe, Opaque}, //
};

/// What `statfs(2)` reports. Blocks are in units of the block size.
#[derive(Default)]
pub(crate) struct StatFs {
    pub(crate) magic: i64,
    pub(crate) block_size: i64,
    pub(crate) blocks: u64,
    pub(crate) blocks_free: u64,
    pub(crate) blocks_available: u64,
    pub(crate) files: u64,
    pub(crate) files_free: u64,
    pub(crate) name_len: i64,
    pub(crate) fsid: u64,
}

/// What the VFS may do with a file system, beyond what its operations say.
#[derive(Clone, Copy)]
pub(crate) struct Flags {
    /// It is never written: every mount is read-only, whatever is asked for, and stays so.
    pub(crate) read_only: bool,
    /// Mounts may map users (`FS_ALLOW_IDMAP`): all that is checked goes through the [`IdMap`].
    ///
    /// [`IdMap`]: super::inode::IdMap
    pub(crate) idmap: bool,
    /// Times are set by the functions of this layer only, so that they can have nanoseconds where
    /// somebody has looked (`FS_MGTIME`).
    pub(crate) multigrain_times: bool,
    /// Inodes count their changes (`SB_I_VERSION`): those of this layer by themselves, others by
    /// [`Inode::inc_version`](super::inode::Inode::inc_version). The file system keeps the number.
    pub(crate) change_counter: bool,
    /// Writeback is charged to the cgroup that has dirtied the pages (`SB_I_CGROUPWB`).
    pub(crate) cgroup_writeback: bool,
}

impl Flags {
    /// Nothing.
    pub(crate) const NONE: Self = Self {
        read_only: false,
        idmap: false,
        multigrain_times: false,
        change_counter: false,
        cgroup_writeback: false,
    };
}

/// A file system. The implementing type is the data of one mounted super block.
///
/// Methods run in the context of the super operation of the same name
/// (Documentation/filesystems/vfs.rst, locking.rst). One that is not implemented is not in the
/// table, so that C does what it does without.
///
/// It lies on a block device of its own (`get_tree_bdev()`). What its inodes can do is said by
/// [`InodeOps`](super::inode::InodeOps), and for each type of inode by
/// [`FileOps`](super::file::FileOps), [`Namei`](super::namei::Namei) and their like: it implements
/// those of the types it has, and a new inode is made one of them by
/// [`NewInode::regular`](super::inode::NewInode::regular) and its like.
#[vtable]
pub(crate) trait FileSystem: Sized + Send + Sync + 'static {
    /// Data of one inode, in the same allocation as the VFS inode.
    type InodeInfo: Send + Sync;
    /// Mount options.
    type Options: Default + Send + Sync;
    /// How its files are written back; [`NoWriteback`](super::writeback::NoWriteback) if never.
    type Writeback: Writeback<Fs = Self>;

    /// What the VFS may do with it.
    const FLAGS: Flags = Flags::NONE;
    /// The files of each mount's folder in /sys/fs; without any there is none.
    const FILES: &'static [SysFile<Self>] = &[];
    /// What the module can do: the files of `features` beside these folders.
    const FEATURES: &'static [&'static CStr] = &[];

    /// A fresh, empty [`Self::InodeInfo`].
    fn new_inode_info() -> impl PinInit<Self::InodeInfo, Error>;

    /// Parses one mount option into `opts`. `ENOPARAM` leaves it to the VFS (`source`, LSMs).
    fn parse_option(
        _opts: &mut Self::Options,
        _key: &[u8],
        _value: Option<&[u8]>,
        _log: &MountLog<'_>,
    ) -> Result {
        build_error!(VTABLE_DEFAULT_ERROR)
    }

    /// The options that a remount starts from.
    fn current_options(&self) -> Self::Options {
        Self::Options::default()
    }

    /// First half of mount: reads and checks the super block. No inode may exist yet.
    fn load(sb: &NewSuper<'_, Self>, opts: &Self::Options) -> Result<impl PinInit<Self, Error>>;

    /// The fields of `self` that are a [`Part`]. Asked once, when the data has its place.
    fn parts(&self) -> Parts<'_, Self> {
        Parts::none()
    }

    /// What comes up where it cannot be done, for a [`Later`]. Sleeps; no lock and no handle is
    /// held.
    fn run_later(_sb: &SuperBlock<Self>) {}

    /// Second half of mount: the data is attached and its parts work. Returns the root inode.
    fn start<'a>(sb: &'a SuperBlock<Self>, log: &MountLog<'_>) -> Result<InodeRef<'a, Self>>;

    /// The end, from `put_super` or after a failed start. The parts have been closed. No inode is
    /// left: nobody else can own one so long ([`InodeRef`]).
    fn stop(_sb: &SuperBlock<Self>) {}

    /// Remount. If it turns the super block read-only, nothing may be dirty on return. Where
    /// [`Remount::is_forced`] an error is not heeded.
    fn reconfigure(_remount: &Remount<'_, Self>, _opts: Self::Options) -> Result {
        build_error!(VTABLE_DEFAULT_ERROR)
    }

    /// Writes out what is dirty; waits for it to be durable if `wait`.
    fn sync(_sb: &SuperBlock<Self>, _wait: bool) -> Result {
        build_error!(VTABLE_DEFAULT_ERROR)
    }

    /// Brings the disk to a clean state and keeps it there; all writers are stopped.
    fn freeze(_sb: &SuperBlock<Self>) -> Result {
        build_error!(VTABLE_DEFAULT_ERROR)
    }

    /// Ends [`FileSystem::freeze`].
    fn unfreeze(_sb: &SuperBlock<Self>) -> Result {
        build_error!(VTABLE_DEFAULT_ERROR)
    }

    /// The device is gone. s_umount is held, shared.
    fn shutdown(_sb: &SuperBlock<Self>) {
        build_error!(VTABLE_DEFAULT_ERROR)
    }

    /// Space and inode counts.
    fn statfs(_sb: &SuperBlock<Self>) -> Result<StatFs> {
        build_error!(VTABLE_DEFAULT_ERROR)
    }

    /// Writes the options as shown in /proc/mounts, each with a leading comma.
    fn show_options(&self, _out: &SeqFile) {
        build_error!(VTABLE_DEFAULT_ERROR)
    }

    /// The inode's fields changed (times, mode, size): journal them. May sleep. Not called for
    /// times that may stay in memory (lazytime; `__mark_inode_dirty`).
    fn dirty_inode(_inode: &Inode<Self>) {
        build_error!(VTABLE_DEFAULT_ERROR)
    }

    /// `write_inode`: writes the inode as `control` asks. Sleeps; no lock of the inode is held but
    /// its `I_SYNC`. The error goes to who waits for the inode.
    fn write_inode(_inode: &Inode<Self>, _control: &WritebackControl<'_>) -> Result {
        build_error!(VTABLE_DEFAULT_ERROR)
    }

    /// The last reference is gone and the page cache is empty. Frees the inode on disk when it
    /// has no link left. Must not fail; reports.
    fn evict(_inode: &Evicted<'_, Self>) {}
}

/// What `s_fs_info` points at, pinned.
#[pin_data]
struct Mounted<F: FileSystem> {
    /// Where writeback of its inodes completes, if it has any. Goes first: an item may still be on
    /// its last lines.
    queue: Option<Workqueue>,
    /// [`FileSystem::FILES`], from the end of the mount on.
    #[pin]
    folder: folder::MountFolder<F>,
    /// See [`SuperBlock::in_flight`].
    in_flight: Atomic<u64>,
    /// The memory of the device, if it has any.
    dax: Option<DaxDevice>,
    #[pin]
    fs: F,
    /// [`FileSystem::parts`] as they were at mount.
    parts: part::Attached<F>,
}

/// A mounted super block with the data of file system `F` attached.
///
/// # Invariants
///
/// A reference is to a super block of `F`, valid as long as the reference. It has a block device,
/// open as long. `s_fs_info` points at a pinned `Mounted<F>` that lives until the super block is
/// killed.
#[repr(transparent)]
pub(crate) struct SuperBlock<F>(Opaque<bindings::super_block>, PhantomData<F>);

// SAFETY: A `super_block` is shared by all threads of the system by design; its fields are
// accessed by C helpers that take the locks they need.
unsafe impl<F: FileSystem> Send for SuperBlock<F> {}
// SAFETY: As above.
unsafe impl<F: FileSystem> Sync for SuperBlock<F> {}

impl<F: FileSystem> SuperBlock<F> {
    /// # Safety
    ///
    /// `ptr` is a super block of file system `F` whose data is attached, valid for `'a`.
    pub(super) unsafe fn from_raw<'a>(ptr: *mut bindings::super_block) -> &'a Self {
        // SAFETY: The type is transparent. INVARIANT: By the caller.
        unsafe { &*ptr.cast() }
    }

    pub(super) fn as_ptr(&self) -> *mut bindings::super_block {
        self.0.get()
    }

    /// The file system's own data.
    pub(crate) fn data(&self) -> &F {
        &self.mounted().fs
    }

    fn mounted(&self) -> &Mounted<F> {
        // SAFETY: By the type invariant `s_fs_info` is a `Mounted` that outlives `self`.
        unsafe { &*(*self.as_ptr()).s_fs_info.cast() }
    }

    /// Where writeback of an inode completes, null if it need not. Lives longer than all inodes.
    pub(super) fn queue(&self) -> *mut bindings::workqueue_struct {
        let queue = self.mounted().queue.as_ref();
        queue.map_or(ptr::null_mut(), Workqueue::as_ptr)
    }

    /// The largest size of a file, in bytes.
    pub(crate) fn max_bytes(&self) -> u64 {
        // SAFETY: By the type invariant. Set before the super block is in use, then constant.
        unsafe { (*self.as_ptr()).s_maxbytes as u64 }
    }

    /// log2 of the bytes of a block.
    pub(super) fn block_bits(&self) -> u32 {
        // SAFETY: By the type invariant. Set before the super block is in use, then constant.
        unsafe { (*self.as_ptr()).s_blocksize_bits.into() }
    }

    /// Closes the folder and the parts and lets the file system end its work.
    ///
    /// # Safety
    ///
    /// No operation runs on the super block and none starts, but for what its parts and the files
    /// of its folder call: it is being taken down, or its mount failed.
    unsafe fn shut_down(&self) {
        // They use what the parts are.
        self.mounted().folder.close();
        // SAFETY: References to parts are borrowed by callbacks, and by the caller none runs but
        // theirs.
        unsafe { self.mounted().parts.close() };
        F::stop(self);
    }

    /// Reads metadata block `block` through the buffer cache. `EIO` when the device fails.
    pub(crate) fn bread(&self, block: u64) -> Result<BufferHead> {
        // SAFETY: By the type invariant.
        unsafe { BufferHead::bread(self.as_ptr(), block) }
    }

    /// The buffer of `block`, without reading it.
    pub(crate) fn getblk(&self, block: u64) -> Result<BufferHead> {
        // SAFETY: By the type invariant.
        unsafe { BufferHead::getblk(self.as_ptr(), block) }
    }

    /// The buffer of `block` if it is in memory and up to date. Does not sleep.
    pub(crate) fn find_block(&self, block: u64) -> Option<BufferHead> {
        // SAFETY: By the type invariant.
        unsafe { BufferHead::find_get(self.as_ptr(), block) }
    }

    /// Starts to read `block`, does not wait.
    pub(crate) fn breadahead(&self, block: u64) {
        // SAFETY: By the type invariant.
        unsafe { BufferHead::breadahead(self.as_ptr(), block) }
    }

    /// As [`Inode::go_on`].
    pub(crate) fn go_on(&self) -> Result {
        // SAFETY: In a context that may sleep, as the caller's is. Looks at the current task only.
        let killed = unsafe {
            bindings::cond_resched();
            bindings::fatal_signal_pending()
        };
        if killed {
            Err(EINTR)
        } else {
            Ok(())
        }
    }

    /// Whether the super block is read-only now.
    pub(crate) fn is_read_only(&self) -> bool {
        // SAFETY: By the type invariant.
        unsafe { bindings::sb_rdonly(self.as_ptr()) }
    }

    /// Whether it is mounted, and not about to go: then its inodes are already leaving.
    pub(crate) fn is_active(&self) -> bool {
        // SAFETY: By the type invariant. The flag is set by mount and cleared by unmount.
        unsafe { bindings::sb_active(self.as_ptr()) }
    }

    /// Stops the machine, as the administrator asked for (`errors=panic`).
    pub(crate) fn panic(&self, why: &CStr) -> ! {
        // SAFETY: By the type invariant, the string NUL-terminated. C does not return.
        unsafe { bindings::panic(self.as_ptr(), why.as_char_ptr()) };
        loop {
            core::hint::spin_loop();
        }
    }

    /// Name of the device, as in log messages.
    pub(crate) fn id(&self) -> &CStr {
        // SAFETY: `s_id` is a NUL-terminated array that does not change after setup.
        unsafe { CStr::from_char_ptr((*self.as_ptr()).s_id.as_ptr()) }
    }

    /// Blocks the freezing of the file system below `SB_FREEZE_FS`, as eviction needs it.
    pub(crate) fn start_intwrite(&self) -> FreezeGuard<'_, F> {
        // SAFETY: By the type invariant; the guard pairs the call.
        unsafe { bindings::sb_start_intwrite(self.as_ptr()) };
        FreezeGuard(self, bindings::sb_end_intwrite, NotThreadSafe)
    }

    /// [`SuperBlock::start_intwrite`] if it need not wait: not frozen.
    pub(crate) fn try_start_intwrite(&self) -> Option<FreezeGuard<'_, F>> {
        // SAFETY: By the type invariant; the guard pairs the call.
        let got = unsafe { bindings::sb_start_intwrite_trylock(self.as_ptr()) };
        // Made only then: a guard that is dropped ends what it stands for.
        got.then(|| FreezeGuard(self, bindings::sb_end_intwrite, NotThreadSafe))
    }

    /// Blocks the freezing of the file system at `SB_FREEZE_PAGEFAULT`.
    pub(crate) fn start_pagefault(&self) -> FreezeGuard<'_, F> {
        // SAFETY: By the type invariant; the guard pairs the call.
        unsafe { bindings::sb_start_pagefault(self.as_ptr()) };
        FreezeGuard(self, bindings::sb_end_pagefault, NotThreadSafe)
    }

    /// Tells fanotify watchers of corrupt metadata, of `inode` if it is known.
    pub(crate) fn report_metadata(&self, inode: Option<&Inode<F>>, err: Error) {
        let inode = inode.map_or(ptr::null_mut(), Inode::as_ptr);
        // SAFETY: By the type invariants; null is what the shim checks for.
        unsafe { bindings::report_metadata(self.as_ptr(), inode, err.to_errno()) }
    }

    /// Wakes those who poll this one of [`FileSystem::FILES`]. Sleeps, for memory as well: no lock
    /// and no handle is held.
    pub(crate) fn file_changed(&self, file: &CStr) {
        self.mounted().folder.notify(file);
    }

    /// Waits for the completion of all writeback that is under way. For [`FileSystem::freeze`],
    /// when no more begins ([`writeback::writepages_callback`](super::writeback)).
    ///
    /// Not by `sync_inodes_sb`, which may have the last reference to an inode that nobody names:
    /// its eviction would wait for the thaw.
    pub(crate) fn wait_for_writeback(&self) {
        while self.in_flight().load(ordering::Acquire) != 0 {
            fsleep(Delta::from_millis(1));
        }
    }

    /// How many I/Os of writeback are under way that have a completion.
    pub(super) fn in_flight(&self) -> &Atomic<u64> {
        &self.mounted().in_flight
    }

    /// Writes the dirty pages of all files and waits for it, unless the mount is changing just now.
    /// Nothing is durable by that: [`FileSystem::write_inode`] is told so.
    /// Waits for folio locks, handles and commits: the caller holds none of them, and nothing that
    /// writeback or the eviction of an inode takes. i_rwsem is fine.
    pub(crate) fn sync_inodes(&self) {
        let sb = self.as_ptr();
        // SAFETY: By the type invariant. `sync_inodes_sb` asks for s_umount, which is released by
        // who has taken it.
        unsafe {
            if bindings::down_read_trylock(&raw mut (*sb).s_umount) != 0 {
                bindings::sync_inodes_sb(sb);
                bindings::up_read(&raw mut (*sb).s_umount);
            }
        }
    }

    /// Flushes the device's write cache.
    pub(crate) fn issue_flush(&self) -> Result {
        // SAFETY: By the type invariant it has a block device.
        to_result(unsafe { bindings::blkdev_issue_flush((*self.as_ptr()).s_bdev) })
    }

    /// Whether the device itself refuses writes.
    pub(crate) fn device_is_read_only(&self) -> bool {
        self.device().is_read_only()
    }

    /// The block device.
    pub(crate) fn device(&self) -> &BlockDevice {
        // SAFETY: By the type invariant it has a block device, open as long as it lives.
        unsafe { BlockDevice::from_raw(self.bdev()) }
    }

    /// The memory of the device, if it has any. It is there as long as the super block.
    pub(super) fn dax(&self) -> Option<&DaxDevice> {
        self.mounted().dax.as_ref()
    }

    pub(super) fn bdev(&self) -> *mut bindings::block_device {
        // SAFETY: By the type invariant.
        unsafe { (*self.as_ptr()).s_bdev }
    }
}

/// Holds off a freeze of the file system until dropped.
///
/// # Invariants
///
/// The function ends what holds off the freeze.
#[must_use]
pub(crate) struct FreezeGuard<'a, F: FileSystem>(
    &'a SuperBlock<F>,
    unsafe extern "C" fn(*mut bindings::super_block),
    NotThreadSafe,
);

impl<F: FileSystem> Drop for FreezeGuard<'_, F> {
    fn drop(&mut self) {
        // SAFETY: Pairs the start call of the same level; freeze counts are per CPU, and the
        // guard is not `Send`, as lockdep expects.
        unsafe { (self.1)(self.0.as_ptr()) }
    }
}
