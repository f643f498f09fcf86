// SPDX-License-Identifier: GPL-2.0

//! What tests of a file system need of the kernel: a control file in debugfs, a page cache in which
//! there is nothing. Only in builds with `VFS_TEST_HOOKS`.
//!
//! The files of `kernel::debugfs` have no state of their own for each time they are opened, nor a
//! call when they are closed. A test that has died leaves nothing switched off by that.
//!
//! C headers: [`include/linux/debugfs.h`](srctree/include/linux/debugfs.h),
//! [`include/linux/seq_file.h`](srctree/include/linux/seq_file.h)

use super::{
    bindings,
    file::File,
    super_block::FileSystem, //
};
use core::{marker::PhantomData, ptr};
use kernel::{
    error::from_result,
    prelude::*,
    seq_file::SeqFile,
    types::Opaque,
    uaccess::{UserPtr, UserSlice}, //
};

/// An open control file.
pub(crate) trait Control: Send + Sync + Sized + 'static {
    /// The state of a file just opened.
    fn open() -> impl PinInit<Self>;
    /// One write: a command. May sleep.
    fn command(&self, line: &str) -> Result;
    /// What a read shows.
    fn show(&self, out: &SeqFile);
    /// The file is closed, by its owner or by the owner's death.
    fn close(&self);
}

/// Whether the current task is one of the kernel's own, or works for a program's io_uring. A
/// program's has no memory either, when it exits.
pub(crate) fn in_kernel_thread() -> bool {
    const OWN: u32 = kernel::bindings::PF_KTHREAD | kernel::bindings::PF_IO_WORKER;
    // SAFETY: The current task is valid; these flags are set before it runs, and stay.
    unsafe { (*kernel::task::Task::current_raw()).flags & OWN != 0 }
}

/// The longest command, in bytes.
const MAX_COMMAND: usize = 256;

/// A file in debugfs; it goes away with this.
pub(crate) struct ControlFile<C> {
    folder: *mut bindings::dentry,
    /// Debugfs keeps a pointer to it. An open file holds the module, so it is not freed while one
    /// is there.
    _table: KBox<bindings::file_operations>,
    _control: PhantomData<C>,
}

// SAFETY: Only `drop` uses the pointer, and debugfs locks as it needs.
unsafe impl<C> Send for ControlFile<C> {}
// SAFETY: As above.
unsafe impl<C> Sync for ControlFile<C> {}

impl<C: Control> ControlFile<C> {
    /// Makes `folder/name`, to be opened by root only.
    pub(crate) fn new(folder: &CStr, name: &CStr, module: &'static ThisModule) -> Result<Self> {
        let table = KBox::new(
            bindings::file_operations {
                owner: module.as_ptr(),
                open: Some(Self::open),
                read: Some(bindings::seq_read),
                llseek: Some(bindings::seq_lseek),
                write: Some(Self::write),
                release: Some(Self::release),
                ..pin_init::zeroed()
            },
            GFP_KERNEL,
        )?;
        // SAFETY: Both functions copy the name. The table lives until after the folder is removed,
        // and its owner is this module. Errors are pointers that both functions take.
        let folder = unsafe {
            let dir = bindings::debugfs_create_dir(folder.as_char_ptr(), ptr::null_mut());
            bindings::debugfs_create_file_unsafe(
                name.as_char_ptr(),
                0o600,
                dir,
                ptr::null_mut(),
                &raw const *table,
            );
            dir
        };
        Ok(Self {
            folder,
            _table: table,
            _control: PhantomData,
        })
    }

    /// # Safety
    ///
    /// `file` is being opened by way of a table that [`Self::new`] has made.
    unsafe extern "C" fn open(_inode: *mut bindings::inode, file: *mut bindings::file) -> c_int {
        from_result(|| {
            let state = KBox::pin_init(C::open(), GFP_KERNEL)?;
            // SAFETY: The box is not moved: it stays behind the pointer until `release`.
            let state = unsafe { KBox::into_raw(Pin::into_inner_unchecked(state)) };
            // SAFETY: By the caller; `show` is called with it.
            let ret = unsafe { bindings::single_open(file, Some(Self::show), state.cast()) };
            if ret != 0 {
                // SAFETY: Ours again: the file was not opened.
                drop(unsafe { KBox::from_raw(state) });
            }
            // A command may wait for what another thread's command brings about: no lock around
            // each of them. The position means nothing, and seq_file has a lock of its own.
            // SAFETY: By the caller nobody else has the file yet.
            unsafe { (*file).f_mode &= !bindings::FMODE_ATOMIC_POS };
            Ok(ret)
        })
    }

    /// # Safety
    ///
    /// `file` was opened by `open`.
    unsafe fn state(file: *mut bindings::file) -> *mut C {
        // SAFETY: `single_open` put the seq_file there, and our state into it.
        unsafe {
            (*(*file).private_data.cast::<bindings::seq_file>())
                .private
                .cast()
        }
    }

    /// # Safety
    ///
    /// `seq` is of a file that [`Self::open`] has opened, and stays open during the call.
    unsafe extern "C" fn show(seq: *mut bindings::seq_file, _: *mut c_void) -> c_int {
        // SAFETY: `open` gave the state; the VFS keeps the file open during the call.
        unsafe { (*(*seq).private.cast::<C>()).show(SeqFile::from_raw(seq)) };
        0
    }

    /// # Safety
    ///
    /// `file` was opened by [`Self::open`] and stays open during the call.
    unsafe extern "C" fn write(
        file: *mut bindings::file,
        buf: *const c_char,
        len: usize,
        _pos: *mut i64,
    ) -> isize {
        // SAFETY: By the caller.
        let state = unsafe { &*Self::state(file) };
        let run = || -> Result {
            if len > MAX_COMMAND {
                return Err(EINVAL);
            }
            let mut line = KVec::new();
            UserSlice::new(UserPtr::from_addr(buf as usize), len)
                .read_all(&mut line, GFP_KERNEL)?;
            state.command(core::str::from_utf8(&line).map_err(|_| EINVAL)?)
        };
        match run() {
            Ok(()) => len as isize,
            Err(e) => e.to_errno() as isize,
        }
    }

    /// # Safety
    ///
    /// `file` was opened by [`Self::open`], and nobody has it any more.
    unsafe extern "C" fn release(inode: *mut bindings::inode, file: *mut bindings::file) -> c_int {
        // SAFETY: By the caller the state is ours again.
        unsafe {
            let state = Pin::new_unchecked(KBox::from_raw(Self::state(file)));
            state.close();
            bindings::single_release(inode, file)
        }
    }
}

impl<C> Drop for ControlFile<C> {
    fn drop(&mut self) {
        // SAFETY: The folder is ours (or an error, which the function ignores).
        unsafe { bindings::debugfs_remove(self.folder) }
    }
}

/// An address space without pages.
#[pin_data]
pub(crate) struct EmptyMapping {
    #[pin]
    mapping: Opaque<bindings::address_space>,
    /// An inode and a super block in which nothing is set: iomap asks the host of a mapping
    /// whether its file system is mounted `sync`.
    #[pin]
    host: Opaque<bindings::inode>,
    #[pin]
    sb: Opaque<bindings::super_block>,
}

// SAFETY: Nothing in it changes after `link`.
unsafe impl Send for EmptyMapping {}
// SAFETY: As above.
unsafe impl Sync for EmptyMapping {}

impl EmptyMapping {
    pub(crate) fn new() -> impl PinInit<Self> {
        pin_init!(Self {
            // SAFETY: The function initializes all of it.
            mapping <- unsafe { Opaque::ffi_init(|slot| bindings::address_space_init_once(slot)) },
            // SAFETY: Plain data, for which zero is a valid value.
            host <- Opaque::ffi_init(|slot: *mut bindings::inode| unsafe {
                slot.write_bytes(0, 1)
            }),
            // SAFETY: As above.
            sb <- Opaque::ffi_init(|slot: *mut bindings::super_block| unsafe {
                slot.write_bytes(0, 1)
            }),
        })
    }

    /// Points the mapping at its host. Once, before it is used.
    pub(crate) fn link(&self) {
        // SAFETY: All three are pinned (there is no other way to make one), and nobody uses them
        // yet.
        unsafe {
            (*self.host.get()).i_sb = self.sb.get();
            (*self.mapping.get()).host = self.host.get();
        }
    }
}

impl<F: FileSystem> File<F> {
    /// Makes iomap see the page cache of the file, or `nothing`, when it writes back and
    /// invalidates for a request. Not for files of which several requests run at once.
    pub(crate) fn show_cache(&self, nothing: &'static EmptyMapping, show: bool) {
        // SAFETY: The file is valid; `f_mapping` is read by iomap during the request, and `nothing`
        // lives as long as the module.
        unsafe {
            let file = self.as_ptr();
            let own = (*(*file).f_inode).i_mapping;
            (*file).f_mapping = if show { own } else { nothing.mapping.get() };
        }
    }
}
