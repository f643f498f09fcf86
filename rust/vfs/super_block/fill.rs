// SPDX-License-Identifier: GPL-2.0

//! The beginning and the end of a super block.
//!
//! C headers: [`include/linux/fs.h`](srctree/include/linux/fs.h),
//! [`include/linux/fs/super_types.h`](srctree/include/linux/fs/super_types.h)

use super::{
    folder::MountFolder,
    part::Attached,
    table::SuperTable,
    FileSystem,
    Mounted,
    NewSuper,
    SuperBlock, //
};
use crate::vfs::atomic::Atomic;
use crate::vfs::{
    bindings,
    fixed,
    fs_context::MountLog,
    memory::DaxDevice,
    work::Workqueue,
    writeback::Writeback, //
};
use core::{
    marker::PhantomData,
    mem,
    ptr, //
};
use kernel::{
    error::from_result,
    prelude::*,
    str::CStr, //
};

/// Fills a super block: the callback of `get_tree_bdev`.
///
/// # Safety
///
/// `sb` is a new super block of the file system type `F` with its device, and `fc` the context of
/// its mount, set up by the layer (fs_context.rs). Both are this thread's.
pub(in crate::vfs) unsafe extern "C" fn fill_super_callback<F: FileSystem>(
    sb: *mut bindings::super_block,
    fc: *mut bindings::fs_context,
) -> c_int {
    from_result(|| {
        // SAFETY: By the caller; `ContextTable::init` has stored the options.
        let opts = unsafe { &*(*fc).fs_private.cast::<F::Options>() };
        // SAFETY: By the caller.
        unsafe {
            (*sb).s_op = fixed(&SuperTable::<F>::TABLE);
            if F::FLAGS.cgroup_writeback {
                (*sb).s_iflags |= bindings::SB_I_CGROUPWB as c_ulong;
            }
            if !F::FILES.is_empty() {
                bindings::set_sysfs_name(sb);
            }
        }
        // SAFETY: By the caller.
        let log = unsafe { MountLog::from_raw(fc) };
        let new = NewSuper(sb, log, PhantomData);
        // SAFETY: Both are NUL-terminated and do not change; the type's is static.
        let (kind, id) = unsafe {
            let kind = CStr::from_char_ptr((*(*sb).s_type).name);
            (kind, CStr::from_char_ptr((*sb).s_id.as_ptr()))
        };
        let queue = if F::Writeback::HAS_COMPLETE {
            Some(Workqueue::new(kind, id)?)
        } else {
            None
        };
        let data = load::<F>(&new, opts, queue)?;
        // SAFETY: The super block is new, and `kill_sb_callback` takes the data back.
        unsafe { attach(sb, data) }?;
        // SAFETY: The data is attached now.
        let this = unsafe { SuperBlock::<F>::from_raw(sb) };
        // SAFETY: They are closed by `shut_down`: below, or in `put_super`.
        unsafe { this.mounted().parts.attach(this) };
        start(this, new.log()).inspect_err(|_| {
            // SAFETY: The mount failed; only this thread knows the super block. After the end
            // nobody has an inode of it, or has forgotten that he has: then nobody uses it either.
            unsafe {
                this.shut_down();
                bindings::poison_inodes(sb);
            }
        })?;
        // SAFETY: It has its root, so `put_super` will be called, which closes it.
        unsafe { this.mounted().folder.open(this) };
        Ok(0)
    })
}

/// The first half of mount: the data of the super block. On its own for the sake of the stack.
#[inline(never)]
fn load<F: FileSystem>(
    new: &NewSuper<'_, F>,
    opts: &F::Options,
    queue: Option<Workqueue>,
) -> Result<Pin<KBox<Mounted<F>>>> {
    KBox::try_pin_init(
        try_pin_init!(Mounted {
            queue,
            folder <- MountFolder::new(),
            in_flight: Atomic::new(0),
            // SAFETY: A super block that is filled has its device, which is open.
            dax: unsafe { DaxDevice::of((*new.as_ptr()).s_bdev) },
            fs <- F::load(new, opts)?,
            parts: Attached::none(),
        }? Error),
        GFP_KERNEL,
    )
}

/// The second half of mount: the super block gets its root.
fn start<F: FileSystem>(this: &SuperBlock<F>, log: &MountLog<'_>) -> Result {
    let root = F::start(this, log)?;
    if !ptr::eq(root.sb(), this) {
        return Err(EXDEV);
    }
    // SAFETY: The count of the root, an inode of this super block, becomes `d_make_root`'s, which
    // takes it also when it fails.
    let dentry = unsafe { bindings::d_make_root(root.into_raw()) };
    if dentry.is_null() {
        return Err(ENOMEM);
    }
    // SAFETY: By the type invariant of `SuperBlock`; it is being filled, and nobody looks for a
    // root before that is done.
    unsafe { (*this.as_ptr()).s_root = dentry };
    Ok(())
}

/// Attaches the data and notes its parts. On its own for the sake of the stack.
///
/// # Safety
///
/// `sb` is new and this thread's; its data is taken back when nobody uses it.
#[inline(never)]
unsafe fn attach<F: FileSystem>(
    sb: *mut bindings::super_block,
    data: Pin<KBox<Mounted<F>>>,
) -> Result {
    let parts = Attached::of(&data.fs, &data.fs.parts())?;
    // SAFETY: Nothing is moved out of the box. Pinned until `kill_sb_callback` takes it back, and
    // nobody has a mutable reference to `fs`, so the parts stay where they are.
    unsafe {
        let data = KBox::into_raw(Pin::into_inner_unchecked(data));
        (*data).parts = parts;
        (*sb).s_fs_info = data.cast();
    }
    Ok(())
}

/// Ends a super block: `kill_block_super()`, and no page of the device is left in the cache.
///
/// File data and the journal are written past the device's own page cache. If somebody else has
/// the device open and has read it during the mount (udev's probes do), that cache has old bytes
/// there. It would live on with that opener, and show them to all who read the device next.
///
/// Such a reader may be at it now. `invalidate_bdev()` lets go of what the kernel itself keeps for
/// later (buffers, folios in a CPU's list), but it is a hint: it passes over folios that are locked
/// or have a reader. `invalidate_inode_pages2()` waits for the lock, thus for a read that may have
/// begun before the last write, and takes the folio from the cache whoever refers to it. What the
/// reader brings in afterwards is what is on the disk.
///
/// # Safety
///
/// `sb` is a super block of `F` that has no active reference left; s_umount is held exclusive.
/// Called once.
pub(super) unsafe extern "C" fn kill_sb_callback<F: FileSystem>(sb: *mut bindings::super_block) {
    // SAFETY: By the caller. After it no inode of the super block is left but for the RCU delayed
    // free of its memory, which does not look at the data.
    unsafe { bindings::generic_shutdown_super(sb) };
    // SAFETY: `fill_super_callback` stored the pointer, nobody uses it any more.
    let data = unsafe { mem::replace(&mut (*sb).s_fs_info, ptr::null_mut()) };
    if !data.is_null() {
        // SAFETY: As above; the box was leaked by `fill_super_callback`.
        let data = unsafe { Pin::new_unchecked(KBox::from_raw(data.cast::<Mounted<F>>())) };
        // SAFETY: By the caller; the list is nobody else's any more, and we are in the module.
        if unsafe { bindings::keep_module_of_inodes(sb) } {
            // An end of I/O may want its queue.
            mem::forget(data);
        } else {
            // Before the device's pages, since buffers that are held keep them.
            drop(data);
        }
    }
    // SAFETY: By the caller.
    let (bdev, file) = unsafe { ((*sb).s_bdev, (*sb).s_bdev_file) };
    if !bdev.is_null() {
        // SAFETY: `get_tree_bdev` opened the device for this super block. It is open until the
        // release, and nobody else does that.
        unsafe {
            // An error has been reported by whoever wrote, as far as it is ours.
            bindings::sync_blockdev(bdev);
            bindings::invalidate_bdev(bdev);
            // What stays is dirty: somebody else writes to the device, and knows what he does. (Who
            // has given a mapping of the device to another device's DMA loses what that delivers
            // later, as with any direct write to the device.)
            bindings::invalidate_inode_pages2((*bdev).bd_mapping);
            bindings::fs_bdev_file_release(file, sb);
        }
    }
}
