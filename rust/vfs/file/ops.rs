// SPDX-License-Identifier: GPL-2.0

//! Operations on open regular files and on their mappings, and the tables of them.
//!
//! C headers: [`include/linux/fs.h`](srctree/include/linux/fs.h),
//! [`include/linux/mm.h`](srctree/include/linux/mm.h)

use super::{
    flags::{FallocMode, FallocOp, FileFlags},
    seek::seek_bytes,
    File, //
};
use crate::vfs::{
    bindings,
    dax::DaxFault,
    fixed,
    inode::Inode,
    ioctl,
    kiocb::{answer, not_queued, Io, Kiocb},
    mmap,
    super_block::FileSystem,
    IovIterDest,
    IovIterSource, //
};
use core::{marker::PhantomData, mem, ops::Range, ptr};
use kernel::{
    build_error,
    error::{from_result, to_result, VTABLE_DEFAULT_ERROR},
    prelude::*, //
};

/// Operations on open regular files. One that is not implemented is not in the table: the VFS
/// answers as for a file system that does not have it.
///
/// Lock context: none held on entry unless said.
#[vtable]
pub(crate) trait FileOps: FileSystem {
    /// What may be asked of them.
    const FILE_FLAGS: FileFlags = FileFlags::NONE;
    /// `ioctl(2)` of them.
    const IOCTL: ioctl::Handler<Self> = ioctl::Handler::NONE;

    /// `read_iter`. Gives the request back with the bytes read, or says that it completes later.
    fn read_iter<'a>(_iocb: Kiocb<'a, Self>, _to: &mut IovIterDest<'_>) -> Io<'a, Self> {
        build_error!(VTABLE_DEFAULT_ERROR)
    }
    /// How many bytes of the file a power cut leaves as a whole, old or new, if a direct write of
    /// just these asks for it (RWF_ATOMIC). `None`: nobody may ask.
    fn whole_write(_inode: &Inode<Self>) -> Option<u32> {
        None
    }
    /// `write_iter`, as `read_iter`.
    fn write_iter<'a>(_iocb: Kiocb<'a, Self>, _from: &mut IovIterSource<'_>) -> Io<'a, Self> {
        build_error!(VTABLE_DEFAULT_ERROR)
    }
    /// Makes the bytes of the file durable, metadata included unless `datasync`.
    fn fsync(_file: &File<Self>, _bytes: Range<u64>, _datasync: bool) -> Result {
        build_error!(VTABLE_DEFAULT_ERROR)
    }
    /// `fallocate` of at least one byte (freeze protection held).
    fn fallocate(_file: &File<Self>, _mode: FallocMode, _bytes: Range<u64>) -> Result {
        build_error!(VTABLE_DEFAULT_ERROR)
    }
    /// Finds the next hole or data from `offset`; `ENXIO` beyond the end. Without it all is data.
    fn seek(_inode: &Inode<Self>, _offset: u64, _hole: bool) -> Result<u64> {
        build_error!(VTABLE_DEFAULT_ERROR)
    }
    /// The largest offset that `llseek` accepts.
    fn max_bytes(inode: &Inode<Self>) -> u64 {
        inode.sb().max_bytes()
    }
    /// A write fault in a shared mapping; see [`mmap`]. Without it mappings cannot be stored
    /// to.
    fn page_mkwrite<'a>(_fault: &mmap::Fault<'a, Self>) -> mmap::VmFault<'a> {
        build_error!(VTABLE_DEFAULT_ERROR)
    }
    /// A fault in a mapping of a file that is accessed directly ([`NewInode::dax`]). Without it
    /// there are no such files.
    ///
    /// [`NewInode::dax`]: crate::vfs::inode::NewInode::dax
    fn dax_fault<'a>(_fault: &DaxFault<'a, Self>) -> mmap::VmFault<'a> {
        build_error!(VTABLE_DEFAULT_ERROR)
    }
    /// A file is opened, unless this is an error; if it is encrypted its key is there. Its
    /// directory may be locked (dentry_create(), of nfsd).
    fn opened(_file: &File<Self>) -> Result {
        Ok(())
    }
    /// Whether a file that is open may be read into a pipe, or mapped where [`Self::page_mkwrite`]
    /// is there. Without it, it may.
    fn may_read(_inode: &Inode<Self>) -> Result {
        build_error!(VTABLE_DEFAULT_ERROR)
    }
    /// An open file is closed, once for each, when its last user has gone; `writer`: it was open
    /// for writing. Others of the inode may be open.
    fn release(_inode: &Inode<Self>, _writer: bool) {}
}

pub(in crate::vfs) struct FileTable<F>(PhantomData<F>);

impl<F: FileOps> FileTable<F> {
    pub(in crate::vfs) const FILE: bindings::file_operations = bindings::file_operations {
        llseek: Some(Self::llseek),
        unlocked_ioctl: F::IOCTL.0,
        #[cfg(CONFIG_COMPAT)]
        compat_ioctl: if F::IOCTL.0.is_some() {
            Some(bindings::compat_ptr_ioctl)
        } else {
            None
        },
        read_iter: if F::HAS_READ_ITER {
            Some(Self::read_iter)
        } else {
            None
        },
        write_iter: if F::HAS_WRITE_ITER {
            Some(Self::write_iter)
        } else {
            None
        },
        // Who polls for a request of iomap finds its bio in `kiocb::private`, or nothing.
        iopoll: if F::FILE_FLAGS.direct {
            Some(bindings::iocb_bio_iopoll)
        } else {
            None
        },
        mmap_prepare: if F::HAS_PAGE_MKWRITE {
            Some(mmap_prepare_callback::<F>)
        } else {
            Some(bindings::generic_file_readonly_mmap_prepare)
        },
        open: Some(Self::open),
        release: if F::HAS_RELEASE {
            Some(Self::release)
        } else {
            None
        },
        fsync: if F::HAS_FSYNC {
            Some(Self::fsync)
        } else {
            None
        },
        splice_read: if F::HAS_MAY_READ {
            Some(Self::splice_read)
        } else {
            Some(bindings::filemap_splice_read)
        },
        splice_write: if F::HAS_WRITE_ITER {
            Some(bindings::iter_file_splice_write)
        } else {
            None
        },
        fallocate: if F::HAS_FALLOCATE {
            Some(Self::fallocate)
        } else {
            None
        },
        setlease: Some(bindings::generic_setlease),
        // So that a PMD can map what is large enough.
        #[cfg(CONFIG_TRANSPARENT_HUGEPAGE)]
        get_unmapped_area: if F::HAS_DAX_FAULT {
            Some(bindings::thp_get_unmapped_area)
        } else {
            None
        },
        fop_flags: F::FILE_FLAGS.fop()
            | if F::HAS_DAX_FAULT {
                bindings::FOP_MMAP_SYNC
            } else {
                0
            },
        // SAFETY: All other members are nullable pointers.
        ..unsafe { mem::zeroed() }
    };

    /// # Safety
    ///
    /// `file` is an open regular file of `F` and stays open during the call.
    unsafe extern "C" fn llseek(file: *mut bindings::file, offset: i64, whence: c_int) -> i64 {
        // SAFETY: By the caller.
        let open = unsafe { File::<F>::from_raw(file) };
        let inode = open.inode();
        let max = F::max_bytes(inode);
        if F::HAS_SEEK {
            let search = |offset, hole| F::seek(inode, offset, hole);
            from_result(|| seek_bytes(open, (offset, whence), max, search))
        } else {
            let (max, size) = (max as i64, inode.size() as i64);
            // SAFETY: By the caller.
            unsafe { bindings::generic_file_llseek_size(file, offset, whence, max, size) }
        }
    }

    /// # Safety
    ///
    /// `iocb` is a request on an open regular file of `F`, this thread's until it is queued; the
    /// caller keeps the file during the call. `to` is its memory, and a destination.
    unsafe extern "C" fn read_iter(
        iocb: *mut bindings::kiocb,
        to: *mut bindings::iov_iter,
    ) -> isize {
        // SAFETY: By the caller.
        let (iocb, to) = unsafe { (Kiocb::<F>::from_raw(iocb), IovIterDest::from_raw(to)) };
        answer(F::read_iter(iocb, to))
    }

    /// # Safety
    ///
    /// As for [`Self::read_iter`]; `from` is a source.
    unsafe extern "C" fn write_iter(
        iocb: *mut bindings::kiocb,
        from: *mut bindings::iov_iter,
    ) -> isize {
        // SAFETY: By the caller.
        let (iocb, from) = unsafe { (Kiocb::<F>::from_raw(iocb), IovIterSource::from_raw(from)) };
        answer(F::write_iter(iocb, from))
    }

    /// # Safety
    ///
    /// `file` is a regular file of `F` that is being opened, so this thread's; `inode` is its
    /// inode.
    unsafe extern "C" fn open(inode: *mut bindings::inode, file: *mut bindings::file) -> c_int {
        // SAFETY: By the caller it is ours to set up.
        let opened = to_result(unsafe {
            (*file).f_mode |= F::FILE_FLAGS.mode();
            if F::HAS_WHOLE_WRITE && F::whole_write(Inode::from_raw(inode)).is_some() {
                (*file).f_mode |= bindings::FMODE_CAN_ATOMIC_WRITE;
            }
            bindings::generic_file_open(inode, file)
        });
        from_result(|| {
            opened?;
            // SAFETY: By the caller; it has its inode and its path.
            to_result(unsafe { bindings::crypt_file_open(inode, file) })?;
            // SAFETY: By the caller; it has its inode and its path.
            F::opened(unsafe { File::from_raw(file) }).map(|()| 0)
        })
    }

    /// # Safety
    ///
    /// `file` is an open regular file of `F` and stays open during the call. The others are as
    /// `filemap_splice_read` wants them.
    unsafe extern "C" fn splice_read(
        file: *mut bindings::file,
        pos: *mut i64,
        pipe: *mut bindings::pipe_inode_info,
        len: usize,
        flags: c_uint,
    ) -> isize {
        // SAFETY: By the caller.
        if let Err(e) = F::may_read(unsafe { File::<F>::from_raw(file) }.inode()) {
            return e.to_errno() as isize;
        }
        // SAFETY: By the caller.
        unsafe { bindings::filemap_splice_read(file, pos, pipe, len, flags) }
    }

    /// # Safety
    ///
    /// `file` is a regular file of `F` that nobody has any more; it keeps `inode` until the return.
    unsafe extern "C" fn release(inode: *mut bindings::inode, file: *mut bindings::file) -> c_int {
        // SAFETY: By the caller.
        let (inode, writer) = unsafe { (Inode::from_raw(inode), bindings::file_is_writer(file)) };
        F::release(inode, writer);
        0
    }

    /// # Safety
    ///
    /// `file` is an open regular file of `F` and stays open during the call.
    unsafe extern "C" fn fsync(
        file: *mut bindings::file,
        start: i64,
        end: i64,
        datasync: c_int,
    ) -> c_int {
        from_result(|| {
            // SAFETY: By the caller.
            let file = unsafe { File::<F>::from_raw(file) };
            // C says the last byte.
            let end = (end as u64).saturating_add(1).min(i64::MAX as u64);
            let synced = F::fsync(file, start as u64..end, datasync != 0);
            // iomap hands it on as the end of a direct write.
            synced.map(|()| 0).map_err(not_queued)
        })
    }

    /// # Safety
    ///
    /// `file` is an open regular file of `F` and stays open during the call; offset >= 0 and len >
    /// 0 (vfs_fallocate()).
    unsafe extern "C" fn fallocate(
        file: *mut bindings::file,
        mode: c_int,
        offset: i64,
        len: i64,
    ) -> c_long {
        from_result(|| {
            let mode = mode as u32;
            let keep_size = mode & bindings::FALLOC_FL_KEEP_SIZE != 0;
            let op = match mode & !bindings::FALLOC_FL_KEEP_SIZE {
                0 => FallocOp::Allocate,
                bindings::FALLOC_FL_PUNCH_HOLE => FallocOp::PunchHole,
                bindings::FALLOC_FL_ZERO_RANGE => FallocOp::ZeroRange,
                bindings::FALLOC_FL_COLLAPSE_RANGE => FallocOp::CollapseRange,
                bindings::FALLOC_FL_INSERT_RANGE => FallocOp::InsertRange,
                bindings::FALLOC_FL_WRITE_ZEROES => FallocOp::WriteZeroes,
                _ => return Err(EOPNOTSUPP),
            };
            // SAFETY: By the caller.
            let file = unsafe { File::<F>::from_raw(file) };
            let mode = FallocMode { op, keep_size };
            let range = offset as u64..offset as u64 + len as u64;
            F::fallocate(file, mode, range).map(|()| 0)
        })
    }
}

struct VmTable<F>(PhantomData<F>);

impl<F: FileOps> VmTable<F> {
    const TABLE: bindings::vm_operations_struct = bindings::vm_operations_struct {
        fault: Some(bindings::filemap_fault),
        map_pages: Some(bindings::filemap_map_pages),
        page_mkwrite: Some(Self::page_mkwrite),
        // SAFETY: All other members are nullable pointers.
        ..unsafe { mem::zeroed() }
    };

    /// # Safety
    ///
    /// `vmf` is a write fault of this thread in a mapping of a file of `F`; mmap_lock or the lock
    /// of the vma is held.
    unsafe extern "C" fn page_mkwrite(vmf: *mut bindings::vm_fault) -> bindings::vm_fault_t {
        // SAFETY: By the caller.
        let fault = unsafe { mmap::Fault::from_raw(vmf) };
        F::page_mkwrite(&fault).bits()
    }
}

/// # Safety
///
/// `desc` describes a mapping of an open file of `F`, and is this thread's to fill.
unsafe extern "C" fn mmap_prepare_callback<F: FileOps>(desc: *mut bindings::vm_area_desc) -> c_int {
    // SAFETY: By the caller; the mapping keeps the file.
    let may_read = || F::may_read(unsafe { File::<F>::from_raw((*desc).file) }.inode());
    if F::HAS_MAY_READ {
        if let Err(e) = may_read() {
            return e.to_errno();
        }
    }
    // SAFETY: By the caller.
    let is_dax = match unsafe { map_directly::<F>(desc) } {
        Ok(is_dax) => is_dax,
        Err(e) => return e.to_errno(),
    };
    // SAFETY: By the caller.
    unsafe {
        bindings::file_accessed((*desc).file);
        if !is_dax {
            (*desc).vm_ops = fixed(&VmTable::<F>::TABLE);
        }
    }
    0
}

/// What is called of a mapping of such a file.
struct DaxVmTable<F>(PhantomData<F>);

impl<F: FileOps> DaxVmTable<F> {
    const TABLE: bindings::vm_operations_struct = bindings::vm_operations_struct {
        fault: Some(Self::fault),
        huge_fault: Some(Self::huge_fault),
        page_mkwrite: Some(Self::fault),
        pfn_mkwrite: Some(Self::fault),
        // SAFETY: All other members are nullable pointers.
        ..unsafe { mem::zeroed() }
    };

    /// # Safety
    ///
    /// As for [`Self::huge_fault`].
    unsafe extern "C" fn fault(vmf: *mut bindings::vm_fault) -> bindings::vm_fault_t {
        // SAFETY: By the caller.
        unsafe { Self::huge_fault(vmf, 0) }
    }

    /// # Safety
    ///
    /// `vmf` is a fault of this thread in a mapping of a file of `F` that is accessed directly;
    /// mmap_lock or the lock of the vma is held.
    unsafe extern "C" fn huge_fault(
        vmf: *mut bindings::vm_fault,
        order: c_uint,
    ) -> bindings::vm_fault_t {
        // SAFETY: By the caller.
        let fault = unsafe { DaxFault::from_raw(vmf, order) };
        fault.answer(F::dax_fault(&fault))
    }
}

/// Of a mapping that is being made: gives it its operations if the file is accessed directly.
/// Returns whether it is. `EOPNOTSUPP` if it shall be durable without fsync (MAP_SYNC) and cannot.
///
/// # Safety
///
/// `desc` describes a mapping of an open file of `F`, and is this thread's to fill.
unsafe fn map_directly<F: FileOps>(desc: *mut bindings::vm_area_desc) -> Result<bool> {
    // SAFETY: By the caller; the mapping keeps the file.
    let inode = unsafe { File::<F>::from_raw((*desc).file) }.inode();
    let device = inode.sb().dax().map_or(ptr::null_mut(), |dax| dax.as_ptr());
    // SAFETY: By the caller. Without a device the inode is not accessed directly, and C does not
    // look at it.
    if !unsafe { bindings::dax_may_map(desc, device) } {
        return Err(EOPNOTSUPP);
    }
    if !F::HAS_DAX_FAULT || !inode.is_dax() {
        return Ok(false);
    }
    // SAFETY: By the caller.
    unsafe {
        (*desc).vm_ops = fixed(&DaxVmTable::<F>::TABLE);
        bindings::dax_map_huge(desc);
    }
    Ok(true)
}
