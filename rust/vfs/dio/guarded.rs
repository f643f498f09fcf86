// SPDX-License-Identifier: GPL-2.0

//! Direct writes from pinned memory, with something held until all is done.
//!
//! `end_io` is too early to let go: iomap invalidates the page cache after it. What comes last is
//! the completion of the request, so an asynchronous write is made on a request of our own, as
//! backing files do it, and the caller's is completed from it.
//!
//! C headers: [`include/linux/uio.h`](srctree/include/linux/uio.h),
//! [`include/linux/fs.h`](srctree/include/linux/fs.h)

use super::{bindings, write_raw, DioFlags, DioOps};
use crate::vfs::{
    inode::Inode,
    kiocb::{not_queued, Io, Kiocb},
    super_block::FileSystem,
    uio::{result_len, UserSource}, //
    IovIterSource,
};
use core::{
    mem::MaybeUninit,
    ops::Range, //
};
use kernel::{error::code::*, prelude::*};

/// Pieces of memory in one [`PinnedPages`] at most: an array that the slab allocator has at hand.
const MAX_VECS: usize = 2048;

/// User memory that stays where it is: using it takes no fault and no mmap_lock.
///
/// # Invariants
///
/// `iov_iter_extract_bvecs()` has filled the first `count` pieces from user memory, so it has
/// pinned their pages.
struct PinnedPages {
    /// Filled by C up to `count`; its own length stays 0.
    vecs: KVec<bindings::bio_vec>,
    count: u16,
    bytes: usize,
}

// SAFETY: Pins belong to the pages, not to a task.
unsafe impl Send for PinnedPages {}

impl PinnedPages {
    /// Pins `want` bytes of what `from` has, or as much as one array describes or may share a bio:
    /// `from` goes on by those. `EFAULT`: not all of it is there; nothing is pinned then.
    fn take(from: &mut UserSource<'_, '_>, want: usize, align: c_uint) -> Result<Self> {
        let from = from.get();
        let room = pieces_of(from, want);
        let mut pins = Self {
            vecs: KVec::with_capacity(room.into(), GFP_KERNEL)?,
            count: 0,
            bytes: 0,
        };
        while pins.bytes < want && pins.count < room {
            // INVARIANT: By its type it is user memory.
            // SAFETY: The array has room for `room` pieces, of which `count` are filled.
            let got = unsafe {
                bindings::iov_iter_extract_bvecs(
                    from.as_raw(),
                    pins.vecs.as_mut_ptr(),
                    want - pins.bytes,
                    &mut pins.count,
                    room,
                    align,
                    0,
                )
            };
            match result_len(got) {
                // Memory that may not share a bio with what is there.
                Ok(0) => break,
                Ok(got) => pins.bytes += got,
                Err(e) => {
                    // SAFETY: It has gone on by these.
                    unsafe { from.revert(pins.bytes) };
                    return Err(e);
                }
            }
        }
        Ok(pins)
    }

    /// Whether some of it is in a page cache. The pins keep it what it is; it may leave the cache.
    fn is_in(&self, mapping: *const bindings::address_space) -> bool {
        (0..usize::from(self.count)).any(|i| {
            // SAFETY: By the type invariant.
            unsafe { bindings::bvec_is_in(self.vecs.as_ptr().add(i), mapping) }
        })
    }

    fn pieces(&self) -> Pieces {
        Pieces {
            vecs: self.vecs.as_ptr(),
            count: self.count,
            bytes: self.bytes,
        }
    }
}

impl Drop for PinnedPages {
    /// In any context, as bios do it.
    fn drop(&mut self) {
        for i in 0..usize::from(self.count) {
            // SAFETY: By the type invariant, and once.
            unsafe { bindings::bvec_unpin(self.vecs.as_ptr().add(i)) }
        }
    }
}

/// The next bytes of a source, pinned. The source is borrowed, so that nobody moves it meanwhile.
///
/// # Invariants
///
/// `from` has gone on by the bytes of `pins`, or more.
pub(crate) struct Pinned<'i, 'd> {
    pins: PinnedPages,
    from: &'i mut IovIterSource<'d>,
}

impl<'i, 'd> Pinned<'i, 'd> {
    /// Pins `max` bytes of what `from` has, or all, or as much as one array describes: then up to
    /// a multiple of `unit` in the file. `from` goes on after them. May fault pages in, so the
    /// caller holds nothing that a fault needs. `EFAULT`: not all of it is there; nothing is pinned
    /// then. `EINVAL`: `unit` is 0.
    pub(crate) fn new<F: FileSystem>(
        iocb: &Kiocb<'_, F>,
        mut from: UserSource<'i, 'd>,
        max: usize,
        unit: usize,
    ) -> Result<Self> {
        if unit == 0 {
            return Err(EINVAL);
        }
        // SAFETY: The device is valid while it is mounted.
        let align = unsafe { bindings::dma_alignment(iocb.inode().sb().bdev()) };
        let want = from.get().len().min(max);
        let mut pins = PinnedPages::take(&mut from, want, align)?;
        let from = from.into_inner();
        if pins.bytes < want {
            let end = iocb.pos() as usize + pins.bytes;
            let rest = (end % unit).min(pins.bytes);
            // SAFETY: It has gone on by all that is pinned.
            unsafe { from.revert(rest) };
            pins.bytes -= rest;
        }
        match pins.bytes {
            0 => Err(EFAULT),
            // INVARIANT: As was just seen to.
            _ => Ok(Self { pins, from }),
        }
    }

    /// Whether the source has no more than these.
    pub(crate) fn is_all(&self) -> bool {
        self.from.is_empty()
    }

    /// Lets go of the memory; the source has it again.
    pub(crate) fn put_back(self) {
        // SAFETY: By the type invariant.
        unsafe { self.from.revert(self.pins.bytes) }
    }
}

/// What a guarded write takes its bytes from.
pub(crate) enum DioSource<'i, 'd> {
    /// These.
    Pinned(Pinned<'i, 'd>),
    /// What is left here, which must not fault: kernel memory.
    Other(&'i mut IovIterSource<'d>),
}

impl<'i, 'd> DioSource<'i, 'd> {
    /// Whether nothing is left of the source afterwards.
    pub(crate) fn is_all(&self) -> bool {
        match self {
            Self::Pinned(pinned) => pinned.is_all(),
            Self::Other(_) => true,
        }
    }

    fn into_parts(self) -> (Option<PinnedPages>, &'i mut IovIterSource<'d>) {
        match self {
            Self::Pinned(Pinned { pins, from }) => (Some(pins), from),
            Self::Other(from) => (None, from),
        }
    }
}
/// How many pieces of an array `want` bytes can become, as far as one array goes.
fn pieces_of(from: &mut IovIterSource<'_>, want: usize) -> u16 {
    let iter = from.as_raw();
    // SAFETY: By the type invariant of `IovIterSource`. A segment needs a piece more than it has
    // whole pages, and one for the other end.
    let pieces = unsafe {
        let segments = bindings::iov_iter_segs(iter);
        let limit = (want / kernel::page::PAGE_SIZE + 2 * segments).min(MAX_VECS);
        bindings::iov_iter_npages(iter, limit as c_int)
    };
    pieces as u16
}

/// What [`PinnedPages`] have, without a borrow of them: they may go while it is used, with the
/// request.
struct Pieces {
    vecs: *const bindings::bio_vec,
    count: u16,
    bytes: usize,
}

impl Pieces {
    /// Runs `f` with an iterator over the memory.
    ///
    /// # Safety
    ///
    /// The [`PinnedPages`] live until the request is complete that `f` makes of the iterator.
    unsafe fn with_iter<R>(self, f: impl FnOnce(&mut IovIterSource<'_>) -> R) -> R {
        let mut iter = MaybeUninit::<bindings::iov_iter>::uninit();
        // SAFETY: The iterator is initialised here and lives during `f`; iomap uses it while it
        // submits only. By the caller the array, which bios point to, lives as long as they do.
        unsafe {
            bindings::iov_iter_source(iter.as_mut_ptr(), self.vecs, self.count.into(), self.bytes);
            f(IovIterSource::from_raw(iter.as_mut_ptr()))
        }
    }
}

/// What is held from before the page cache is invalidated the first time until after the last.
pub(crate) trait Guard: 'static {
    /// Whose files are written.
    type Fs: FileSystem;
    /// Let go of by dropping it, in whatever context the request completes.
    type Held<'a>: Send;

    /// Begins to hold, for a write of the bytes of `range`.
    fn close(inode: &Inode<Self::Fs>, range: Range<u64>) -> Result<Self::Held<'_>>;
}

/// The clone of an asynchronous request. iomap sees this one.
#[repr(C)]
struct ClonedKiocb<H> {
    iocb: bindings::kiocb,
    original: *mut bindings::kiocb,
    held: H,
    pins: Option<PinnedPages>,
}

impl<H> ClonedKiocb<H> {
    /// The request is over, its position is the original's. Opens before it unpins: others wait.
    ///
    /// # Safety
    ///
    /// The original is not completed yet.
    unsafe fn end(self: KBox<Self>) -> *mut bindings::kiocb {
        let this = KBox::into_inner(self);
        drop(this.held);
        drop(this.pins);
        // SAFETY: By the caller.
        unsafe { (*this.original).ki_pos = this.iocb.ki_pos };
        this.original
    }

    /// `ki_complete`, after `iomap_dio_complete()`: in process context, or in that of the bio if
    /// there was nothing to invalidate.
    ///
    /// # Safety
    ///
    /// `iocb` is the first field of a boxed `Self` that `queue` has given away, and is completed
    /// once, by this.
    unsafe extern "C" fn complete(iocb: *mut bindings::kiocb, result: c_long) {
        // SAFETY: iomap completes a queued request once; it is the first field of ours, which
        // `queue` gave away. The original is completed here and nowhere else, and it is
        // asynchronous, so it has a function for it.
        unsafe {
            let original = KBox::from_raw(iocb.cast::<Self>()).end();
            if let Some(complete) = (*original).ki_complete {
                complete(original, result);
            }
        }
    }
}

/// Writes directly as [`super::write`] does, holding `G` meanwhile. The source stands behind the
/// bytes written (or queued) afterwards.
pub(crate) fn write_guarded<'a, D: DioOps, G: Guard<Fs = D::Fs>>(
    iocb: Kiocb<'a, D::Fs>,
    source: DioSource<'_, '_>,
    flags: DioFlags,
) -> Io<'a, D::Fs> {
    let (pins, from) = source.into_parts();
    let pinned = pins.as_ref().map_or(0, |pins| pins.bytes);
    let ret = if flags.force_wait || iocb.is_sync() {
        wait::<D, G>(&iocb, from, pins, flags)
    } else {
        queue::<D, G>(&iocb, from, pins, flags)
    };
    // SAFETY: Both have made this request, or a clone that completes it.
    let (iocb, result) = unsafe { iocb.returned(ret) }?;
    let rest = pinned.saturating_sub(result.unwrap_or(0));
    // SAFETY: By the type invariant of `Pinned` it has gone on by these, or more; of pinned memory
    // an iterator of its own was used since. If nothing was pinned it does not move.
    unsafe { from.revert(rest) };
    iocb.done(result)
}

fn range_of<F: FileSystem>(
    iocb: &Kiocb<'_, F>,
    from: &IovIterSource<'_>,
    pins: Option<&PinnedPages>,
) -> Range<u64> {
    let len = pins.map_or(from.len(), |pins| pins.bytes) as u64;
    iocb.pos()..iocb.pos() + len
}

fn flags_of<F: FileSystem>(
    iocb: &Kiocb<'_, F>,
    pins: Option<&PinnedPages>,
    flags: DioFlags,
) -> DioFlags {
    let mapping = iocb.inode().mapping();
    DioFlags {
        from_itself: pins.is_some_and(|pins| pins.is_in(mapping)),
        ..flags
    }
}

fn wait<D: DioOps, G: Guard<Fs = D::Fs>>(
    iocb: &Kiocb<'_, D::Fs>,
    from: &mut IovIterSource<'_>,
    pins: Option<PinnedPages>,
    flags: DioFlags,
) -> Result<usize> {
    let range = range_of(iocb, from, pins.as_ref());
    let flags = flags_of(iocb, pins.as_ref(), flags);
    let held = G::close(iocb.inode(), range).map_err(not_queued)?;
    let request = iocb.as_ptr();
    // SAFETY: The request is valid and waited for.
    let write = |iter: &mut IovIterSource<'_>| unsafe { write_raw::<D>(request, iter, flags) };
    let result = match &pins {
        // SAFETY: `pins` go after the request, which is waited for.
        Some(pins) => unsafe { pins.pieces().with_iter(write) },
        None => write(from),
    };
    drop(held);
    result
}

/// `EIOCBQUEUED`: then `iocb` may be gone already.
fn queue<D: DioOps, G: Guard<Fs = D::Fs>>(
    iocb: &Kiocb<'_, D::Fs>,
    from: &mut IovIterSource<'_>,
    pins: Option<PinnedPages>,
    flags: DioFlags,
) -> Result<usize> {
    let range = range_of(iocb, from, pins.as_ref());
    let flags = flags_of(iocb, pins.as_ref(), flags);
    let memory = KBox::<ClonedKiocb<G::Held<'static>>>::new_uninit(GFP_KERNEL)?;
    // SAFETY: The inode lives longer than what is held: that is let go of before the original
    // request is completed, which until then keeps its file, and that the inode.
    let inode = unsafe { Inode::<D::Fs>::from_raw(iocb.inode().as_ptr()) };
    let held = G::close(inode, range).map_err(not_queued)?;
    let mut clone = MaybeUninit::<bindings::kiocb>::uninit();
    // SAFETY: The request is valid; the C function fills all of the clone. Nobody polls for the
    // bio of a request that is not the caller's, so the clone does not ask for it.
    let iocb_clone = unsafe {
        bindings::kiocb_clone(clone.as_mut_ptr(), iocb.as_ptr());
        (*clone.as_mut_ptr()).ki_complete = Some(ClonedKiocb::<G::Held<'static>>::complete);
        clone.assume_init()
    };
    let request = KBox::into_raw(KBox::write(
        memory,
        ClonedKiocb {
            iocb: iocb_clone,
            original: iocb.as_ptr(),
            held,
            pins,
        },
    ));
    // Copied out: `complete` may free the request before `write_raw` returns, so nothing here may
    // borrow from it.
    // SAFETY: Not queued yet, so it is ours.
    let pieces = unsafe { (*request).pins.as_ref().map(PinnedPages::pieces) };
    // SAFETY: The request is ours and valid until it is queued.
    let write = |iter: &mut IovIterSource<'_>| unsafe {
        write_raw::<D>(&raw mut (*request).iocb, iter, flags)
    };
    let result = match pieces {
        // SAFETY: The request has the memory, and lets go of it when it is complete.
        Some(pieces) => unsafe { pieces.with_iter(write) },
        None => write(from),
    };
    match result {
        // It belongs to `complete` now, which may have run already.
        Err(e) if e == EIOCBQUEUED => (),
        // SAFETY: Not queued, so nobody else has it or completes the original.
        _ => unsafe {
            KBox::from_raw(request).end();
        },
    }
    result
}
