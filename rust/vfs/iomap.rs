// SPDX-License-Identifier: GPL-2.0

//! iomap: from file ranges to blocks. One operations table per path, each a type of its own.
//!
//! An iomap is a stale copy the moment it is made (rule 3 of the data path). What makes it safe
//! to use is [`WriteOps::valid`], called under the folio lock.
//!
//! C headers: [`include/linux/iomap.h`](srctree/include/linux/iomap.h)

mod fiemap;
mod write;

pub(crate) use fiemap::{fiemap, FiemapInfo};
pub(crate) use write::{buffered_write, zero_range, WriteOps};

use super::{
    bindings,
    fixed,
    inode::Inode,
    kiocb::{not_queued, RequestId},
    pagemap::InvalidateLock,
    super_block::FileSystem, //
};
use core::{cell::Cell, marker::PhantomData, ops::Range};
use kernel::{
    error::from_result,
    prelude::*, //
};

/// What lies below a file range.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum MapType {
    /// Nothing: reads give zeros.
    Hole,
    /// Nothing yet, but space is reserved and the page cache holds the data.
    Delalloc,
    /// Blocks with data.
    Mapped,
    /// Blocks that read as zeros until a write has completed.
    Unwritten,
}

impl MapType {
    /// `IOMAP_*`, as C has it.
    pub(crate) fn raw(self) -> u32 {
        match self {
            MapType::Hole => bindings::IOMAP_HOLE,
            MapType::Delalloc => bindings::IOMAP_DELALLOC,
            MapType::Mapped => bindings::IOMAP_MAPPED,
            MapType::Unwritten => bindings::IOMAP_UNWRITTEN,
        }
    }
}

/// Why a mapping is asked for (`IOMAP_*`).
#[derive(Clone, Copy)]
pub(crate) struct MapFlags(pub(super) u32, RequestId);

impl MapFlags {
    /// Of writeback, which does not ask by way of [`MapOps`]. C knows no such flag.
    pub(crate) const WRITEBACK: Self = Self(1 << 31, RequestId::NONE);
    /// Of a direct write that is durable when it is over. C knows no such flag.
    const DSYNC: u32 = 1 << 30;

    /// As C has them, to be told in events.
    pub(crate) const fn bits(self) -> u32 {
        self.0
    }

    fn has(self, bit: u32) -> bool {
        self.0 & bit != 0
    }
    /// Data will be written.
    pub(crate) fn write(self) -> bool {
        self.has(bindings::IOMAP_WRITE)
    }
    /// For a page fault: the folio is locked.
    pub(crate) fn fault(self) -> bool {
        self.has(bindings::IOMAP_FAULT)
    }
    /// `EAGAIN` rather than sleep.
    pub(crate) fn nowait(self) -> bool {
        self.has(bindings::IOMAP_NOWAIT)
    }
    /// For which direct write. `end_io` gets the same one, once for all mappings that were asked
    /// for.
    pub(crate) fn request(self) -> RequestId {
        self.1
    }
    /// For a direct write with O_DSYNC, or of a file or mount that has all writes so: only those
    /// look at [`Map::set_dirty`].
    pub(crate) fn dsync(self) -> bool {
        self.has(Self::DSYNC)
    }
    /// For a write that a power cut leaves as a whole, or nothing of it.
    pub(crate) fn whole(self) -> bool {
        self.has(bindings::IOMAP_ATOMIC)
    }
    /// For a file that is accessed directly ([`super::dax`]).
    pub(crate) fn dax(self) -> bool {
        self.has(bindings::IOMAP_DAX)
    }
    /// Only over blocks that hold data already, in one mapping.
    pub(crate) fn overwrite_only(self) -> bool {
        self.has(bindings::IOMAP_OVERWRITE_ONLY)
    }
}

/// A mapping to fill in or to look at: byte ranges of a file and of the device.
#[repr(transparent)]
pub(crate) struct Map(bindings::iomap);

impl Map {
    /// # Safety
    ///
    /// `ptr` is a valid iomap that nobody else uses for `'a`.
    pub(super) unsafe fn from_raw<'a>(ptr: *mut bindings::iomap) -> &'a mut Self {
        // SAFETY: The type is transparent; by the caller.
        unsafe { &mut *ptr.cast() }
    }

    pub(super) fn as_ptr(&self) -> *const bindings::iomap {
        &self.0
    }

    /// Fills the mapping. Offsets and length in bytes; `addr` on the device, for mapped and
    /// unwritten ranges.
    pub(crate) fn set<F: FileSystem>(
        &mut self,
        inode: &Inode<F>,
        ty: MapType,
        offset: u64,
        length: u64,
        addr: Option<u64>,
        cookie: u64,
    ) {
        self.0.type_ = ty.raw() as u16;
        self.0.flags = 0;
        self.0.offset = offset as i64;
        self.0.length = length;
        self.0.addr = addr.unwrap_or(u64::MAX);
        self.0.bdev = inode.sb().bdev();
        self.0.validity_cookie = cookie;
    }

    /// Makes it one of the device's memory, as bytes of that: nobody behind it looks at its end.
    /// `EIO` if it is beyond that, or no whole pages, or not where it was asked for: C takes its
    /// distance from `pos` for one in the memory. The same of what the page cache has, for which
    /// there is none: C would take no address for one (`dax_zero_iter()`).
    fn place_in_memory<F: FileSystem>(&mut self, inode: &Inode<F>, pos: u64) -> Result {
        let dax = inode.sb().dax().ok_or(EIO)?;
        if !self.range().contains(&pos) {
            return Err(EIO);
        }
        self.0.dax_dev = dax.as_ptr();
        match self.map_type() {
            MapType::Hole | MapType::Unwritten => return Ok(()),
            MapType::Delalloc => return Err(EIO),
            MapType::Mapped => (),
        }
        // Its place in the file is at whole pages, too, or the two would not fit.
        let parts = self.0.offset as u64 & (kernel::page::PAGE_SIZE as u64 - 1) != 0;
        if parts {
            return Err(EIO);
        }
        self.0.addr = dax.place(self.0.addr, self.0.length)?;
        Ok(())
    }

    /// Fills it with the first `length` bytes of something that lies between others in a block of
    /// the device. For reports only.
    pub(crate) fn set_inline<F: FileSystem>(&mut self, inode: &Inode<F>, addr: u64, length: u64) {
        self.set(inode, MapType::Hole, 0, length, Some(addr), 0);
        self.0.type_ = bindings::IOMAP_INLINE as u16;
    }

    /// Of an encrypted file: shortens it to what can be encrypted in one go from byte `pos` on.
    #[inline]
    pub(super) fn end_with_units<F: FileSystem>(&mut self, inode: &Inode<F>, pos: u64) {
        if inode.has_encrypted_data() {
            self.end_with_crypted_units(inode, pos);
        }
    }

    #[inline(never)]
    fn end_with_crypted_units<F: FileSystem>(&mut self, inode: &Inode<F>, pos: u64) {
        let Range { start, end } = self.range();
        if (start..end).contains(&pos) {
            self.0.length = in_one_count(inode, pos..end).end - start;
        }
    }

    /// Blocks or reservations of this mapping were made by this call.
    pub(crate) fn set_new(&mut self) {
        self.0.flags |= bindings::IOMAP_F_NEW as u16;
    }

    /// All of it is written by one request of the device, as a whole or not.
    pub(crate) fn set_whole(&mut self) {
        self.0.flags |= bindings::IOMAP_F_ATOMIC_BIO as u16;
    }

    /// Metadata that a sync of the data needs is not durable yet.
    pub(crate) fn set_dirty(&mut self) {
        self.0.flags |= bindings::IOMAP_F_DIRTY as u16;
    }

    /// The file has no extents: those that are reported were put together.
    pub(crate) fn set_merged(&mut self) {
        self.0.flags |= bindings::IOMAP_F_MERGED as u16;
    }

    /// Whether [`Map::set_new`] was called.
    pub(crate) fn is_new(&self) -> bool {
        self.0.flags & bindings::IOMAP_F_NEW as u16 != 0
    }

    /// What lies below.
    pub(crate) fn map_type(&self) -> MapType {
        match u32::from(self.0.type_) {
            bindings::IOMAP_DELALLOC => MapType::Delalloc,
            bindings::IOMAP_MAPPED => MapType::Mapped,
            bindings::IOMAP_UNWRITTEN => MapType::Unwritten,
            _ => MapType::Hole,
        }
    }

    /// The byte range of the file; empty for a mapping never filled.
    pub(crate) fn range(&self) -> Range<u64> {
        let start = self.0.offset as u64;
        start..start.saturating_add(self.0.length)
    }

    /// What [`Map::set`] stored: the sequence number of the extent map.
    pub(crate) fn cookie(&self) -> u64 {
        self.0.validity_cookie
    }
}

/// Makes mappings for one path. Called without folio lock except for faults; never inside a
/// handle, and never leaves one open.
#[vtable]
pub(crate) trait MapOps: 'static {
    /// Whose inodes are mapped.
    type Fs: FileSystem;

    /// Maps at least the first of the bytes; no others are of interest.
    fn begin(inode: &Inode<Self::Fs>, bytes: Range<u64>, flags: MapFlags, map: &mut Map) -> Result;

    /// Before the first mapping of a direct write: the page cache of its range has been written and
    /// dropped, or the write has ended without. Once after each
    /// [`super::dio::DioOps::dropping_cache`].
    fn cache_dropped(_inode: &Inode<Self::Fs>) {}

    /// The mapping was used for the first `written` of the bytes.
    fn end(
        _inode: &Inode<Self::Fs>,
        _bytes: Range<u64>,
        _written: u64,
        _flags: MapFlags,
        _map: &mut Map,
    ) -> Result {
        Ok(())
    }
}

/// A direct write that is being submitted, for the mappings that are made meanwhile.
pub(super) struct Submission {
    pub(super) request: RequestId,
    /// It is to be durable when it is over.
    pub(super) dsync: bool,
    /// Its range is not out of the page cache yet.
    pub(super) dropping: Cell<bool>,
}

/// Bytes of a file as C says them; neither number is negative.
fn byte_range(pos: i64, len: i64) -> Range<u64> {
    let pos = pos as u64;
    pos..pos.saturating_add(len as u64)
}

/// The first of the bytes: of an encrypted file as many as can be encrypted in one go, since the
/// numbers of their data units follow one another. All of another file.
pub(super) fn in_one_count<F: FileSystem>(inode: &Inode<F>, bytes: Range<u64>) -> Range<u64> {
    if bytes.is_empty() || !matches!(inode.encrypts_data(), Ok(true)) {
        return bytes;
    }
    let bits = inode.block_size().ilog2();
    let (first, last) = (bytes.start >> bits, (bytes.end - 1) >> bits);
    // SAFETY: By the type invariant of `Inode`, and it has its key.
    let some = unsafe { bindings::limit_crypted_blocks(inode.as_ptr(), first, last - first + 1) };
    bytes.start..bytes.end.min((first + some) << bits)
}

struct Table<T>(PhantomData<T>);

impl<T: MapOps> Table<T> {
    const TABLE: bindings::iomap_ops = bindings::iomap_ops {
        iomap_begin: Some(Self::begin),
        iomap_end: if T::HAS_END { Some(Self::end) } else { None },
        iomap_next: None,
    };

    /// # Safety
    ///
    /// `iomap` is the mapping in an `iomap_iter` of this thread, over `inode`, one of `T::Fs` that
    /// the caller keeps (iomap_iter()).
    unsafe extern "C" fn begin(
        inode: *mut bindings::inode,
        pos: i64,
        length: i64,
        flags: c_uint,
        iomap: *mut bindings::iomap,
        _srcmap: *mut bindings::iomap,
    ) -> c_int {
        // SAFETY: By the caller. `private` is what `dio.rs` gave it, on the stack of the task that
        // is in here, or null.
        let (inode, map, submission) = unsafe {
            let iter = kernel::container_of!(iomap, bindings::iomap_iter, iomap);
            let submission = (*iter).private.cast::<Submission>();
            (
                Inode::<T::Fs>::from_raw(inode),
                Map::from_raw(iomap),
                submission.as_ref(),
            )
        };
        let flags = match submission {
            Some(s) => {
                if s.dropping.take() {
                    T::cache_dropped(inode);
                }
                let dsync = if s.dsync { MapFlags::DSYNC } else { 0 };
                MapFlags(flags | dsync, s.request)
            }
            None => MapFlags(flags, RequestId::NONE),
        };
        let mut bytes = byte_range(pos, length);
        if submission.is_none() && flags.write() && !flags.fault() {
            // What is reserved for more than the mapping has would not be given back, if the next
            // one is made and not used. Direct writes answer for all of the request, and give back
            // what they promised when it ends; faults reserve all of the folio, and use it.
            bytes = in_one_count(inode, bytes);
        }
        let mut begun = T::begin(inode, bytes.clone(), flags, map);
        map.end_with_units(inode, bytes.start);
        if flags.dax() {
            begun = begun.and_then(|()| map.place_in_memory(inode, bytes.start));
            if !flags.fault() {
                // C would drop the entries of what it is told is new, those also of pages that
                // somebody has mapped by now: nobody would know of them any more. What a mapping
                // shows of the hole is dropped by who fills it, with invalidate_lock held.
                map.0.flags &= !(bindings::IOMAP_F_NEW as u16);
            }
        }
        from_result(|| begun.map(|()| 0).map_err(not_queued))
    }

    /// # Safety
    ///
    /// As for [`Self::begin`], which has filled the mapping.
    unsafe extern "C" fn end(
        inode: *mut bindings::inode,
        pos: i64,
        length: i64,
        written: isize,
        flags: c_uint,
        iomap: *mut bindings::iomap,
    ) -> c_int {
        // SAFETY: By the caller.
        let (inode, map) = unsafe { (Inode::<T::Fs>::from_raw(inode), Map::from_raw(iomap)) };
        let written = u64::try_from(written).unwrap_or(0);
        let flags = MapFlags(flags, RequestId::NONE);
        let ended = T::end(inode, byte_range(pos, length), written, flags, map);
        from_result(|| ended.map(|()| 0).map_err(not_queued))
    }
}

/// The function of `T` that makes a mapping, for where it is all that is asked for.
pub(super) fn begin_fn<T: MapOps>() -> bindings::iomap_iter_begin_fn {
    Some(Table::<T>::begin)
}

/// The C table of `T`.
pub(super) fn table<T: MapOps>() -> *const bindings::iomap_ops {
    fixed(&Table::<T>::TABLE)
}

/// Called for each delalloc range that a short write leaves without dirty pages.
pub(crate) trait Release: 'static {
    /// Whose reservations they are.
    type Fs: FileSystem;

    /// Gives the reservation of the bytes back.
    fn release(inode: &Inode<Self::Fs>, bytes: Range<u64>);
}

/// # Safety
///
/// `inode` is the one that `iomap_write_delalloc_release` was given.
unsafe extern "C" fn punch<R: Release>(
    inode: *mut bindings::inode,
    offset: i64,
    length: i64,
    _map: *mut bindings::iomap,
) {
    // SAFETY: By the caller.
    R::release(
        unsafe { Inode::from_raw(inode) },
        byte_range(offset, length),
    );
}

impl<F: FileSystem> InvalidateLock<'_, F> {
    /// Gives back what a short write reserved in the range of bytes, except below pages that others
    /// have dirtied meanwhile. The lock keeps faults from dirtying more.
    pub(crate) fn release_delalloc<R: Release<Fs = F>>(
        &self,
        range: Range<u64>,
        flags: MapFlags,
        map: &mut Map,
    ) {
        // SAFETY: By the type invariant. iomap keeps no pointer.
        unsafe {
            bindings::iomap_write_delalloc_release(
                self.inode().as_ptr(),
                range.start as i64,
                range.end as i64,
                flags.0,
                &mut map.0,
                Some(punch::<R>),
            )
        }
    }
}

/// The first block that a write of `written` bytes at `pos` did not touch, in bytes.
pub(crate) fn last_written_block<F: FileSystem>(inode: &Inode<F>, pos: u64, written: u64) -> u64 {
    // SAFETY: By the type invariant of `Inode`.
    unsafe {
        bindings::iomap_last_written_block(inode.as_ptr(), pos as i64, written as isize) as u64
    }
}

/// Finds the next data (or hole) from byte `pos`; `ENXIO` beyond the end.
pub(crate) fn seek<T: MapOps>(inode: &Inode<T::Fs>, pos: u64, hole: bool) -> Result<u64> {
    let pos = pos as i64;
    // SAFETY: By the type invariants of what is passed; the tables are static, and iomap keeps no
    // pointer.
    let ret = unsafe {
        if hole {
            bindings::iomap_seek_hole(inode.as_ptr(), pos, table::<T>())
        } else {
            bindings::iomap_seek_data(inode.as_ptr(), pos, table::<T>())
        }
    };
    u64::try_from(ret).map_err(|_| Error::from_errno(ret as c_int))
}
