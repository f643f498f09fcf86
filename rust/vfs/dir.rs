// SPDX-License-Identifier: GPL-2.0

//! Open directories: what one remembers, emission of entries, and the file operation table.
//!
//! C header: [`include/linux/fs.h`](srctree/include/linux/fs.h)

use super::{
    bindings,
    file::{seek_bytes, File},
    inode::Inode,
    ioctl,
    super_block::FileSystem, //
};
use core::{marker::PhantomData, mem};
use kernel::{
    build_error,
    error::{from_result, VTABLE_DEFAULT_ERROR},
    prelude::*,
    types::ForeignOwnable, //
};

/// Operations on open directories.
#[vtable]
pub(crate) trait DirOps: FileSystem {
    /// What an open directory remembers from one call to the next. A descriptor may be shared, so
    /// several threads use it at once.
    type DirFile: Send + Sync + 'static;
    /// `ioctl(2)` of them.
    const IOCTL: ioctl::Handler<Self> = ioctl::Handler::NONE;

    /// A directory is opened. `ENOMEM`.
    fn open_dir() -> impl PinInit<Self::DirFile, Error>;
    /// The position was set: [`DirEmitter::pos`] is what a reader asked for, not where it was. No
    /// lock is held but that of the position.
    fn dir_seeked(_file: &Self::DirFile) {}
    /// Emits entries from `emit.pos()` on. i_rwsem of `dir` is held, shared.
    fn readdir(dir: &Inode<Self>, file: &Self::DirFile, emit: &mut DirEmitter<'_>) -> Result;
    /// If positions are bytes of the directory: the largest that lseek sets. Else all are taken,
    /// and there is no end but the largest.
    fn byte_positions(_dir: &Inode<Self>) -> Option<u64> {
        None
    }
    /// Where positions are bytes: the next hole or data from byte `offset`. `ENXIO` beyond the end.
    fn seek_dir(_dir: &Inode<Self>, _offset: u64, _hole: bool) -> Result<u64> {
        build_error!(VTABLE_DEFAULT_ERROR)
    }
    /// Makes the directory durable.
    fn fsync(_dir: &File<Self>) -> Result {
        build_error!(VTABLE_DEFAULT_ERROR)
    }
}

/// Where `readdir` puts entries.
pub(crate) struct DirEmitter<'a> {
    ctx: &'a mut bindings::dir_context,
    narrow: bool,
}

impl DirEmitter<'_> {
    /// The position to go on from: what the last [`DirEmitter::set_pos`] said, or a seek.
    pub(crate) fn pos(&self) -> u64 {
        self.ctx.pos as u64
    }

    /// Sets the position of the entry that comes next.
    pub(crate) fn set_pos(&mut self, pos: u64) {
        self.ctx.pos = pos as i64;
    }

    /// Whether the reader takes positions of 31 bits only: a 32-bit program, or an NFS client that
    /// is served with such. Else they have 63.
    pub(crate) fn narrow(&self) -> bool {
        self.narrow
    }

    /// Emits an entry; `dtype` is a `DT_*`. False when the buffer is full: stop, and leave the
    /// position at this entry.
    #[must_use]
    pub(crate) fn emit(&mut self, name: &[u8], ino: u64, dtype: u8) -> bool {
        // SAFETY: The context is borrowed; the name is `len` bytes.
        unsafe {
            bindings::dir_emit(
                self.ctx,
                name.as_ptr(),
                name.len() as c_int,
                ino,
                dtype.into(),
            )
        }
    }
}

pub(super) struct DirTable<F>(PhantomData<F>);

/// What `private_data` of an open directory owns.
type Private<F> = Pin<KBox<<F as DirOps>::DirFile>>;

impl<F: DirOps> DirTable<F> {
    pub(super) const TABLE: bindings::file_operations = bindings::file_operations {
        open: Some(Self::open),
        release: Some(Self::release),
        llseek: Some(Self::llseek),
        unlocked_ioctl: F::IOCTL.0,
        #[cfg(CONFIG_COMPAT)]
        compat_ioctl: if F::IOCTL.0.is_some() {
            Some(bindings::compat_ptr_ioctl)
        } else {
            None
        },
        read: Some(bindings::generic_read_dir),
        iterate_shared: Some(Self::iterate),
        fsync: if F::HAS_FSYNC {
            Some(Self::fsync)
        } else {
            None
        },
        setlease: Some(bindings::generic_setlease),
        // SAFETY: All other members are nullable pointers and flags.
        ..unsafe { mem::zeroed() }
    };

    /// # Safety
    ///
    /// `file` is a directory that [`Self::open`] has opened, valid for `'a`.
    unsafe fn remembered<'a>(file: *mut bindings::file) -> Pin<&'a F::DirFile> {
        // SAFETY: `open` stored what it owns; nobody takes it back before `release`.
        unsafe { Private::<F>::borrow((*file).private_data) }
    }

    /// # Safety
    ///
    /// `file` is a directory of `F` that is being opened, so this thread's.
    unsafe extern "C" fn open(_inode: *mut bindings::inode, file: *mut bindings::file) -> c_int {
        from_result(|| {
            let private: Private<F> = KBox::try_pin_init(F::open_dir(), GFP_KERNEL)?;
            // SAFETY: By the caller it is ours to set up.
            unsafe { (*file).private_data = private.into_foreign() };
            Ok(0)
        })
    }

    /// # Safety
    ///
    /// `file` was opened by [`Self::open`], and nobody has it any more.
    unsafe extern "C" fn release(_inode: *mut bindings::inode, file: *mut bindings::file) -> c_int {
        // SAFETY: By the caller no call is in it.
        drop(unsafe { Private::<F>::from_foreign((*file).private_data) });
        0
    }

    /// # Safety
    ///
    /// `file` was opened by [`Self::open`] and stays open during the call.
    unsafe extern "C" fn llseek(file: *mut bindings::file, offset: i64, whence: c_int) -> i64 {
        // SAFETY: By the caller.
        let (narrow, remembered) =
            unsafe { (bindings::dir_positions_32bit(file), Self::remembered(file)) };
        // Asking where one is changes nothing.
        if whence as u32 != bindings::SEEK_CUR || offset != 0 {
            F::dir_seeked(&remembered);
        }
        // SAFETY: By the caller.
        let open = unsafe { File::<F>::from_raw(file) };
        let dir = open.inode();
        if let (true, Some(max)) = (F::HAS_SEEK_DIR, F::byte_positions(dir)) {
            let search = |offset, hole| F::seek_dir(dir, offset, hole);
            return from_result(|| seek_bytes(open, (offset, whence), max, search));
        }
        let max = if narrow { i32::MAX.into() } else { i64::MAX };
        // SAFETY: By the caller; positions made of hashes use all of the positive range.
        unsafe { bindings::generic_file_llseek_size(file, offset, whence, max, max) }
    }

    /// # Safety
    ///
    /// `file` was opened by [`Self::open`] and stays open during the call.
    unsafe extern "C" fn fsync(
        file: *mut bindings::file,
        _start: i64,
        _end: i64,
        _datasync: c_int,
    ) -> c_int {
        // SAFETY: By the caller.
        from_result(|| F::fsync(unsafe { File::from_raw(file) }).map(|()| 0))
    }

    /// # Safety
    ///
    /// As for [`Self::llseek`], and i_rwsem of the directory is held. `ctx` is this thread's.
    unsafe extern "C" fn iterate(
        file: *mut bindings::file,
        ctx: *mut bindings::dir_context,
    ) -> c_int {
        from_result(|| {
            // SAFETY: By the caller.
            let (narrow, remembered, ctx) = unsafe {
                (
                    bindings::dir_positions_32bit(file),
                    Self::remembered(file),
                    &mut *ctx,
                )
            };
            // SAFETY: As above.
            let file = unsafe { File::<F>::from_raw(file) };
            let mut emit = DirEmitter { ctx, narrow };
            F::readdir(file.inode(), &remembered, &mut emit).map(|()| 0)
        })
    }
}
