// SPDX-License-Identifier: GPL-2.0

//! Buffer heads: single blocks of a block device's page cache, for metadata.
//!
//! The bytes of a buffer are shared with the journal, with the disk and with whoever reads or
//! writes the block device itself. They are copied out and in, never lent, and the copies are made
//! by C functions: the kernel's memory model permits plain accesses that race, Rust's does not.
//! Single numbers are read as C's READ_ONCE would, and names are compared by C.
//!
//! C header: [`include/linux/buffer_head.h`](srctree/include/linux/buffer_head.h)

mod bitmap;
mod bytes;

pub(crate) use bytes::BlockBytes;

use super::{
    atomic::Atomic,
    bindings,
    gfp::{GFP_NOFAIL, MAX_NOFAIL}, //
};
use core::{
    mem::{size_of, ManuallyDrop},
    ops::Range,
    ptr::NonNull, //
};
use kernel::{
    error::to_result,
    prelude::*,
    sync::atomic::Acquire,
    types::NotThreadSafe, //
};
use zerocopy::{FromBytes, Immutable, IntoBytes};

/// A reference to one block of a block device.
///
/// # Invariants
///
/// The pointer is to a `struct buffer_head` of which we own one count (`b_count`). While somebody
/// holds a count, `try_to_free_buffers()` and page migration leave the buffer alone, so `b_data`,
/// `b_size` and `b_blocknr` do not change and `b_data` points to `b_size` bytes of memory.
pub(crate) struct BufferHead(NonNull<bindings::buffer_head>);

// SAFETY: The count is atomic, and all state is behind the buffer's own bit locks.
unsafe impl Send for BufferHead {}
// SAFETY: As for `Send`; the bytes are only ever copied, by C.
unsafe impl Sync for BufferHead {}

/// The bit that the file system has for [`BufferHead::is_verified`], as helpers/bh.c sets it.
const VERIFIED: u32 = bindings::jbd_state_bits_BH_JBDPrivateStart + 1;

impl BufferHead {
    /// Takes over one count of `bh`; null is `EIO` (`bdev_getblk()` fails only for block numbers
    /// that no device can have).
    ///
    /// # Safety
    ///
    /// `bh` is null, or the caller owns a count of it and gives it up.
    unsafe fn from_raw(bh: *mut bindings::buffer_head) -> Result<Self> {
        // INVARIANT: Per the contract of this function.
        NonNull::new(bh).map(Self).ok_or(EIO)
    }

    /// The buffer of `block` of the file system's device, which may not hold the disk's bytes yet.
    /// Sleeps; never fails for lack of memory. `EIO` if the number is out of any range.
    ///
    /// # Safety
    ///
    /// `sb` is a live super block with a block device and its block size set.
    pub(super) unsafe fn getblk(sb: *mut bindings::super_block, block: u64) -> Result<Self> {
        // SAFETY: Per the contract of this function; `sb_getblk()` returns an owned count or null.
        unsafe { Self::from_raw(bindings::sb_getblk(sb, block)) }
    }

    /// [`BufferHead::getblk`] for who keeps the buffer for the life of the mount: its page is not
    /// taken from the movable ones, which it would pin (C: `ext4_sb_bread_unmovable()`).
    ///
    /// # Safety
    ///
    /// As for [`BufferHead::getblk`].
    pub(super) unsafe fn getblk_unmovable(
        sb: *mut bindings::super_block,
        block: u64,
    ) -> Result<Self> {
        // SAFETY: Per the contract of this function; returns an owned count or null.
        unsafe { Self::from_raw(bindings::sb_getblk_unmovable(sb, block)) }
    }

    /// Reads `block` of the file system's device unless the buffer is up to date. Sleeps.
    ///
    /// The caller has checked `block` against the size of the file system. `EIO` if the device
    /// could not read it.
    ///
    /// # Safety
    ///
    /// As for [`BufferHead::getblk`].
    pub(super) unsafe fn bread(sb: *mut bindings::super_block, block: u64) -> Result<Self> {
        // SAFETY: Same contract.
        unsafe { Self::getblk(sb, block) }?.read_in()
    }

    /// The buffer of `block` if it is in memory and up to date. Does not sleep.
    ///
    /// # Safety
    ///
    /// As for [`BufferHead::getblk`].
    pub(super) unsafe fn find_get(sb: *mut bindings::super_block, block: u64) -> Option<Self> {
        // SAFETY: Per the contract of this function; returns an owned count or null.
        let bh = unsafe { Self::from_raw(bindings::sb_find_get_block(sb, block)) };
        bh.ok().filter(Self::is_uptodate)
    }

    /// Starts to read `block`, if it is not in memory. Does not wait, not for memory either; errors
    /// show up in `bread`. The page is unmovable, whoever keeps the buffer.
    ///
    /// # Safety
    ///
    /// As for [`BufferHead::getblk`].
    pub(super) unsafe fn breadahead(sb: *mut bindings::super_block, block: u64) {
        // SAFETY: Per the contract of this function; returns an owned count or null.
        let bh = unsafe { Self::from_raw(bindings::sb_getblk_nowait(sb, block)) };
        let Ok(bh) = bh else { return };
        // SAFETY: By the type invariant.
        if bh.is_uptodate() || !unsafe { bindings::trylock_buffer(bh.as_ptr()) } {
            return;
        }
        if bh.restore() {
            // SAFETY: Locked above.
            unsafe { bindings::unlock_buffer(bh.as_ptr()) };
            return;
        }
        // SAFETY: By the type invariant; locked, which passes to the function and ends with the
        // I/O.
        unsafe {
            bindings::clear_buffer_verified(bh.as_ptr());
            bindings::bh_readahead_locked(bh.as_ptr());
        }
    }

    pub(super) fn read_in(self) -> Result<Self> {
        if self.is_current() {
            return Ok(self);
        }
        let locked = ManuallyDrop::new(self.lock());
        if self.restore() {
            drop(ManuallyDrop::into_inner(locked));
            return Ok(self);
        }
        // Whatever was verified is not what the disk will give now.
        // SAFETY: By the type invariant; locked, which passes to the function and ends with the
        // I/O.
        to_result(unsafe {
            bindings::clear_buffer_verified(self.as_ptr());
            bindings::bh_read_locked(self.as_ptr())
        })?;
        Ok(self)
    }

    /// Whether memory holds what the disk holds, or should hold: see [`BufferHead::restore`].
    /// Sleeps only if not.
    pub(super) fn is_current(&self) -> bool {
        self.is_uptodate() || self.write_failed() && self.lock().restore()
    }

    /// A write that fails clears "uptodate" (`bh_end_write()`), though memory is newer than the
    /// disk: a transaction has committed, and its log may be all there is of it. To read the block
    /// again would show what was before, a name that is removed or an inode that was free. So the
    /// bit is set again (C: `ext4_buffer_uptodate()`). With the buffer's lock, under which a write
    /// or a read changes both bits. Returns whether the buffer is up to date.
    fn restore(&self) -> bool {
        if self.write_failed() {
            // SAFETY: By the type invariant.
            unsafe { bindings::set_buffer_uptodate(self.as_ptr()) };
        }
        self.is_uptodate()
    }

    fn write_failed(&self) -> bool {
        self.has(bindings::bh_state_bits_BH_Write_EIO)
    }

    /// Whether a bit of the state is set; what its setter did before is seen then
    /// (test_bit_acquire()).
    fn has(&self, bit: u32) -> bool {
        // SAFETY: By the type invariant; C changes the bits atomically.
        let state = unsafe { Atomic::from_ptr(&raw const (*self.as_ptr()).b_state) };
        state.load(Acquire) & 1 << bit != 0
    }

    pub(super) fn as_ptr(&self) -> *mut bindings::buffer_head {
        self.0.as_ptr()
    }

    /// Number of the block, in units of [`BufferHead::size`].
    pub(crate) fn blocknr(&self) -> u64 {
        // SAFETY: By the type invariant; constant while we hold a count.
        unsafe { (*self.as_ptr()).b_blocknr }
    }

    /// Bytes in the block.
    pub(crate) fn size(&self) -> usize {
        // SAFETY: By the type invariant; constant while we hold a count.
        unsafe { (*self.as_ptr()).b_size }
    }

    fn data(&self) -> *mut u8 {
        // SAFETY: By the type invariant; constant while we hold a count.
        unsafe { (*self.as_ptr()).b_data }.cast()
    }

    /// The device of the block, null if it went away. For comparison only.
    pub(super) fn bdev(&self) -> *mut bindings::block_device {
        // SAFETY: By the type invariant. `discard_buffer()` may clear the field meanwhile, hence
        // the volatile read (C would say READ_ONCE).
        unsafe { (&raw const (*self.as_ptr()).b_bdev).read_volatile() }
    }

    /// A pointer to `len` bytes at `off`; `EINVAL` if they are not all in the block.
    pub(super) fn span(&self, off: usize, len: usize) -> Result<*mut u8> {
        match off.checked_add(len) {
            // SAFETY: `b_data` points to `b_size` bytes by the type invariant.
            Some(end) if end <= self.size() => Ok(unsafe { self.data().add(off) }),
            _ => Err(EINVAL),
        }
    }

    /// Copies a small structure out of the block. `EINVAL` if it does not lie within it. A large
    /// one would lie in the stack frames of all who hand it on: for those there are
    /// [`BufferHead::read_into`] and [`BufferHead::read_boxed`].
    ///
    /// What another CPU writes meanwhile may be seen in part: the lock that owns the structure is
    /// the caller's.
    pub(crate) fn read<T: FromBytes>(&self, off: usize) -> Result<T> {
        const { assert!(size_of::<T>() <= 64, "too large to be returned by value") };
        let src = self.span(off, size_of::<T>())?;
        // SAFETY: `span` checked the source. Volatile, as others may write it meanwhile; any bytes
        // are a valid `T: FromBytes`.
        let Packed(value) = unsafe { src.cast::<Packed<T>>().read_volatile() };
        Ok(value)
    }

    /// [`BufferHead::read`] for structures of any size, into the caller's memory.
    pub(crate) fn read_into<T: FromBytes + IntoBytes>(&self, off: usize, to: &mut T) -> Result {
        self.copy_out(off, to.as_mut_bytes())
    }

    /// [`BufferHead::read`] for structures of any size, into memory of their own. Sleeps; `ENOMEM`.
    pub(crate) fn read_boxed<T: FromBytes>(&self, off: usize) -> Result<KBox<T>> {
        const { assert!(size_of::<T>() <= MAX_NOFAIL, "too large for GFP_NOFAIL") };
        let src = self.span(off, size_of::<T>())?;
        let mut value = KBox::<T>::new_uninit(GFP_NOFAIL)?;
        // SAFETY: `span` checked the source; the destination is ours and as long.
        unsafe { bindings::memcpy(value.as_mut_ptr().cast(), src.cast(), size_of::<T>()) };
        // SAFETY: All bytes have been written, and any bytes are a valid `T: FromBytes`.
        Ok(unsafe { value.assume_init() })
    }

    /// Copies bytes out of the block. `EINVAL` if they do not all lie within it.
    pub(crate) fn copy_out(&self, off: usize, dst: &mut [u8]) -> Result {
        let src = self.span(off, dst.len())?;
        // SAFETY: `span` checked the source; `dst` is ours and as long.
        unsafe { copy(src, dst.as_mut_ptr(), dst.len()) };
        Ok(())
    }

    /// A copy of all bytes. The error never comes.
    pub(crate) fn to_vec(&self) -> Result<KVec<u8>> {
        let (src, len) = (self.span(0, self.size())?, self.size());
        let mut copy: KVec<u8> = KVec::with_capacity(len, GFP_NOFAIL)?;
        // SAFETY: `span` checked the source; the capacity of the destination is as long.
        unsafe { bindings::memcpy(copy.as_mut_ptr().cast(), src.cast(), len) };
        // SAFETY: Within the capacity, and all bytes have been written.
        unsafe { copy.inc_len(len) };
        Ok(copy)
    }

    /// The little-endian number at byte `off`. `EINVAL` if that is not a multiple of 4, or the
    /// number does not lie within the block.
    pub(crate) fn le32(&self, off: usize) -> Result<u32> {
        self.bytes().le32(off).ok_or(EINVAL)
    }

    /// CRC32C of a part of the block, continued from `seed`. The part of `range` beyond the block
    /// is left out.
    pub(crate) fn crc32c(&self, seed: u32, range: Range<usize>) -> u32 {
        self.bytes().crc32c(seed, range)
    }

    /// Whether the buffer holds what is on disk, or newer.
    pub(crate) fn is_uptodate(&self) -> bool {
        self.has(bindings::bh_state_bits_BH_Uptodate)
    }

    /// Whether [`BufferHead::set_verified`] was called since the block was read.
    pub(crate) fn is_verified(&self) -> bool {
        self.has(VERIFIED)
    }

    /// Remembers with the buffer that its checksum and contents have been checked.
    pub(crate) fn set_verified(&self) {
        // SAFETY: By the type invariant.
        unsafe { bindings::set_buffer_verified(self.as_ptr()) }
    }

    /// Locks the buffer. Sleeps. To change it so, outside of any transaction, is only for blocks
    /// that no transaction holds: the super block before the journal is loaded, after it is
    /// destroyed or when it has been aborted.
    pub(crate) fn lock(&self) -> LockedBuffer<'_> {
        // SAFETY: By the type invariant.
        unsafe { bindings::lock_buffer(self.as_ptr()) };
        LockedBuffer {
            bh: self,
            _not_send: NotThreadSafe,
        }
    }

    /// Copies bytes into the block.
    pub(super) fn fill_from(&self, off: usize, src: &[u8]) -> Result {
        let dst = self.span(off, src.len())?;
        // SAFETY: `span` checked the destination; `src` is as long.
        unsafe { copy(src.as_ptr(), dst, src.len()) };
        Ok(())
    }

    /// Copies bytes within the block.
    pub(super) fn copy_within(&self, range: Range<usize>, to: usize) -> Result {
        let len = range.end.checked_sub(range.start).ok_or(EINVAL)?;
        let (src, dst) = (self.span(range.start, len)?, self.span(to, len)?);
        // SAFETY: `span` checked both; they may overlap.
        unsafe { bindings::memmove(dst.cast(), src.cast(), len) };
        Ok(())
    }

    /// Sets all bytes of `range` to `byte`.
    pub(super) fn fill(&self, range: Range<usize>, byte: u8) -> Result {
        let len = range.end.checked_sub(range.start).ok_or(EINVAL)?;
        let dst = self.span(range.start, len)?;
        // SAFETY: `span` checked the destination.
        unsafe { bindings::memset(dst.cast(), i32::from(byte), len) };
        Ok(())
    }
}

/// Bytes anywhere.
#[repr(C, packed)]
struct Packed<T>(T);

/// Bytes beyond which a copy is worth a call of C's memcpy(), which takes some time to begin.
const LONG: usize = 256;

/// Copies bytes that others may look at or change meanwhile.
///
/// # Safety
///
/// `from` can be read and `to` be written, `len` bytes each; one of them is nobody else's.
unsafe fn copy(from: *const u8, to: *mut u8, len: usize) {
    if len > LONG {
        // SAFETY: By the caller.
        return unsafe { bindings::memcpy(to.cast(), from.cast(), len) };
    }
    let words = len / size_of::<u64>();
    // SAFETY: By the caller; volatile, as C's accesses to such bytes are (READ_ONCE, WRITE_ONCE).
    unsafe {
        for word in 0..words {
            let value = from.cast::<Packed<u64>>().add(word).read_volatile();
            to.cast::<Packed<u64>>().add(word).write_volatile(value);
        }
        for byte in words * size_of::<u64>()..len {
            to.add(byte).write_volatile(from.add(byte).read_volatile());
        }
    }
}

impl Clone for BufferHead {
    fn clone(&self) -> Self {
        // SAFETY: By the type invariant. INVARIANT: The new value owns the count taken here.
        unsafe { bindings::get_bh(self.as_ptr()) };
        Self(self.0)
    }
}

impl Drop for BufferHead {
    fn drop(&mut self) {
        // SAFETY: By the type invariant we own the count that goes.
        unsafe { bindings::__brelse(self.as_ptr()) }
    }
}

/// A buffer under its lock (`BH_Lock`): no I/O on it is in flight and none starts.
pub(crate) struct LockedBuffer<'a> {
    bh: &'a BufferHead,
    _not_send: NotThreadSafe,
}

impl LockedBuffer<'_> {
    /// Copies a structure into the block. `EINVAL` if it does not fit.
    pub(crate) fn write<T: IntoBytes + Immutable>(&mut self, off: usize, value: &T) -> Result {
        self.bh.fill_from(off, value.as_bytes())
    }

    /// Writes the block out, past caches of the device (FUA), unlocks and waits. The way of
    /// metadata without a journal. `EIO` also if the device is gone.
    ///
    /// The lock is held from the change of the bytes to the end of their write. In between the
    /// flusher could write them, without FUA; then nothing would be left to be written here:
    ///
    /// ```text
    ///   write_sync                                  flusher
    ///   dirties the buffer, unlocks
    ///                                               writes it, to the device's cache
    ///   clean: Ok                                   power cut: the old bytes are back
    /// ```
    pub(crate) fn write_sync(self) -> Result {
        let bh = ManuallyDrop::new(self).bh;
        // SAFETY: By the type invariant of `BufferHead` a count is ours during the call. The buffer
        // is locked, and the function lets go of that in all cases.
        to_result(unsafe { bindings::bh_write_fua_locked(bh.as_ptr()) })
    }
}

impl core::ops::Deref for LockedBuffer<'_> {
    type Target = BufferHead;

    fn deref(&self) -> &BufferHead {
        self.bh
    }
}

impl Drop for LockedBuffer<'_> {
    fn drop(&mut self) {
        // SAFETY: `BufferHead::lock` locked the buffer.
        unsafe { bindings::unlock_buffer(self.bh.as_ptr()) }
    }
}
