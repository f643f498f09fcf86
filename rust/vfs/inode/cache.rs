// SPDX-License-Identifier: GPL-2.0

//! The memory of inodes: one object for the VFS inode and the file system's data.
//!
//! C headers: [`include/linux/fs.h`](srctree/include/linux/fs.h)

use crate::vfs::{
    bindings,
    super_block::{cache_of, FileSystem},
    writeback::Completions, //
};
use core::{
    marker::PhantomData,
    mem::{offset_of, MaybeUninit},
    ptr::{self, NonNull}, //
};
use kernel::{
    prelude::*,
    str::CStr,
    sync::{rcu::rcu_barrier, Arc}, //
};

/// What an inode of file system `F` is in memory: the VFS inode and our data in one object.
#[repr(C)]
pub(in crate::vfs) struct WithInfo<F: FileSystem> {
    pub(super) info: MaybeUninit<F::InodeInfo>,
    /// Where the object goes back to. Kept here because the RCU free may run after the super
    /// block is gone.
    slab: *mut bindings::kmem_cache,
    /// Initialised by [`NewInode::regular`](super::NewInode::regular), if writeback has
    /// completions.
    pub(in crate::vfs) completions: MaybeUninit<Completions>,
    /// What fs/crypto keeps of the inode, null without its key. C finds it by [`crypt_offset`].
    crypt: *mut c_void,
    inode: bindings::inode,
}

/// The slab cache of the inodes of `F`.
///
/// # Invariants
///
/// `slab` is a cache of `WithInfo<F>`, which is ours.
pub(crate) struct InodeCache<F: FileSystem> {
    slab: NonNull<bindings::kmem_cache>,
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
            unsafe { bindings::inode_init_once(&raw mut (*obj.cast::<WithInfo<F>>()).inode) }
        }
        // SAFETY: The name is static; the constructor has the right type.
        let slab = unsafe {
            bindings::inode_cache(
                name.as_char_ptr(),
                size_of::<WithInfo<F>>() as c_uint,
                align_of::<WithInfo<F>>() as c_uint,
                Some(init_once::<F>),
            )
        };
        let slab = NonNull::new(slab).ok_or(ENOMEM)?;
        Ok(Arc::new(
            Self {
                slab,
                _fs: PhantomData,
            },
            GFP_KERNEL,
        )?)
    }
}

impl<F: FileSystem> Drop for InodeCache<F> {
    fn drop(&mut self) {
        rcu_barrier();
        // The end of an I/O lets go of the last that kept its mount, then returns through code of
        // this module. In a task (ksoftirqd, a worker of a stacked device) it may be preempted
        // there; one that sleeps of its own will has returned. Interrupts are free_module()'s.
        // SAFETY: Task context, in which the caller may sleep.
        unsafe { bindings::wait_for_preempted() };
        // SAFETY: By the type invariant. The file system is unregistered. Its inodes were freed by
        // RCU callbacks, all of which have run: the cache is empty.
        unsafe { bindings::kmem_cache_destroy(self.slab.as_ptr()) };
    }
}

/// # Safety
///
/// `sb` is a super block of `F`, mounted or being filled.
pub(in crate::vfs) unsafe extern "C" fn alloc_inode_callback<F: FileSystem>(
    sb: *mut bindings::super_block,
) -> *mut bindings::inode {
    // SAFETY: By the caller.
    let slab = unsafe { cache_of::<F>(sb) }.slab.as_ptr();
    // SAFETY: The cache is valid and accounts to the super block's inode LRU.
    let obj = unsafe { bindings::alloc_inode_sb(sb, slab) }.cast::<WithInfo<F>>();
    if obj.is_null() {
        return ptr::null_mut();
    }
    // SAFETY: The object is ours and uninitialised but for `inode`, which the slab constructor
    // set up; it does not move until it is freed.
    unsafe {
        (&raw mut (*obj).slab).write(slab);
        (&raw mut (*obj).crypt).write(ptr::null_mut());
        let info = (&raw mut (*obj).info).cast::<F::InodeInfo>();
        if pin_init::raw_try_init(info, F::new_inode_info()).is_err() {
            bindings::kmem_cache_free(slab, obj.cast());
            return ptr::null_mut();
        }
        &raw mut (*obj).inode
    }
}

/// Drops the file system's data: here, in task context, and not in the RCU callback, where a drop
/// that sleeps would be a bug. A path walk under RCU uses nothing but the VFS inode.
///
/// # Safety
///
/// `inode` is from [`alloc_inode_callback`] of `F`, and nobody has a reference to it. Called once.
pub(in crate::vfs) unsafe extern "C" fn destroy_inode_callback<F: FileSystem>(
    inode: *mut bindings::inode,
) {
    // SAFETY: By the caller no callback runs, and the data goes once.
    unsafe {
        (&raw mut (*with_info::<F>(inode)).info)
            .cast::<F::InodeInfo>()
            .drop_in_place()
    }
}

/// # Safety
///
/// `inode` is from [`alloc_inode_callback`] of `F`. Called once, a grace period after
/// [`destroy_inode_callback`] (or, where the VFS could not initialise the inode, after no one has
/// seen it).
pub(in crate::vfs) unsafe extern "C" fn free_inode_callback<F: FileSystem>(
    inode: *mut bindings::inode,
) {
    // SAFETY: By the caller nobody looks at it any more.
    unsafe {
        let obj = with_info::<F>(inode);
        free_link(inode);
        bindings::kmem_cache_free((*obj).slab, obj.cast());
    }
}

/// # Safety
///
/// `inode` was allocated by [`alloc_inode_callback`] of `F`.
pub(in crate::vfs) unsafe fn with_info<F: FileSystem>(
    inode: *mut bindings::inode,
) -> *mut WithInfo<F> {
    // SAFETY: By the caller, the inode is embedded in a `WithInfo`.
    unsafe { inode.byte_sub(offset_of!(WithInfo<F>, inode)).cast() }
}

/// Where the pointer of fs/crypto is, from the VFS inode on.
#[cfg(CONFIG_FS_ENCRYPTION)]
pub(in crate::vfs) const fn crypt_offset<F: FileSystem>() -> isize {
    // CAST: Of one object.
    offset_of!(WithInfo<F>, crypt) as isize - offset_of!(WithInfo<F>, inode) as isize
}

/// Frees the `i_link` text of a short symbolic link.
///
/// # Safety
///
/// Called once, from the RCU free of the inode.
unsafe fn free_link(inode: *mut bindings::inode) {
    // SAFETY: The inode is valid; `i_link` shares a union with pointers that only other types
    // of inodes use.
    unsafe {
        if u32::from((*inode).i_mode) & bindings::S_IFMT == bindings::S_IFLNK {
            bindings::kfree((*inode).__bindgen_anon_5.i_link.cast());
        }
    }
}
