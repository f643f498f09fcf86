// SPDX-License-Identifier: GPL-2.0

//! Trace events: what the data path did, in which order, for which inode.
//!
//! They are in every build, so an event that is off must cost next to nothing: one load of the
//! tracepoint's static key and a branch that is not taken. [`fire`] reads the key itself. The
//! kernel's `declare_trace!` would do that only with CONFIG_JUMP_LABEL; without, it asks
//! `static_key_count`, which from Rust is a call into C for every event passed. The count is kept
//! with CONFIG_JUMP_LABEL too, so one way serves all kernels.
//!
//! Arguments of the functions here are values that the caller has at hand. What must be looked up
//! (sequence number, sizes) is looked up behind the branch, by [`Traced`] or in `trace.h`.
//!
//! C headers: `bindings/trace.h`,
//! [`include/linux/tracepoint.h`](srctree/include/linux/tracepoint.h)

use super::{
    bindings,
    file::FallocOp,
    inode::Inode,
    iomap::{Map, MapFlags, MapType},
    mmap::{Fault, VmFault},
    super_block::FileSystem, //
};
use kernel::{prelude::*, str::CStr};

/// What events tell of an inode that their caller does not.
pub(crate) trait Traced: FileSystem {
    /// The sequence number of the extent map, of the bits that fit.
    fn seq(inode: &Inode<Self>) -> u32;

    /// File size on disk in bytes.
    fn disk_size(inode: &Inode<Self>) -> u64;
}

/// Tells the compiler that the branch it stands in is not taken, so that the code for an event
/// does not lie in the path that has it off.
#[cold]
fn cold() {}

/// `fire!(name(args))`: the event `rext4_name` of `trace.h`, if somebody has switched it on.
/// The arguments are evaluated only then. All pointers among them must be valid.
#[cfg(CONFIG_TRACEPOINTS)]
macro_rules! fire {
    ($name:ident($($arg:expr),* $(,)?)) => { kernel::macros::paste! {
        // SAFETY: A static of this module. `enabled` is an `int` that C changes atomically at any
        // time; one volatile read is what `static_key_count` does (jump_label.h).
        let users = unsafe {
            (&raw const bindings::[<__tracepoint_rext4_ $name>].key.key.enabled.counter)
                .read_volatile()
        };
        if users != 0 {
            cold();
            // SAFETY: Tracepoints may be called in any context. Pointers are valid during the
            // call, and TP_fast_assign in trace.h copies out of them and keeps none.
            unsafe { bindings::[<rust_do_trace_rext4_ $name>]($($arg),*) };
        }
    } };
}

/// A kernel without tracepoints: nothing, but the arguments are used.
#[cfg(not(CONFIG_TRACEPOINTS))]
macro_rules! fire {
    ($name:ident($($arg:expr),* $(,)?)) => {
        $( let _ = || $arg; )*
    };
}

/// Events of `rext4_range_class`: bytes of a file, and the sequence number.
macro_rules! range_events {
    ($($(#[$doc:meta])* $name:ident;)*) => {$(
        $(#[$doc])*
        #[inline(always)]
        pub(crate) fn $name<F: Traced>(inode: &Inode<F>, pos: u64, len: u64) {
            fire!($name(inode.as_ptr(), pos, len, F::seq(inode)));
        }
    )*};
}

range_events! {
    /// A read through the page cache begins.
    buffered_read;
    /// A write through the page cache begins: locked, limits checked.
    buffered_write;
    /// A direct read begins. What iomap does from here on its own events tell.
    dio_read;
    /// A direct write begins: locked, limits checked.
    dio_write;
    /// Pages could not be invalidated: the direct write becomes a buffered one.
    dio_fall_back;
    /// What lies beyond the old end of the file, or beside a hole, is about to be zeroed.
    zero_tail;
    /// Writeback wants a mapping for these dirty bytes of a locked folio.
    writeback_range;
    /// Written back; what follows (conversion, size) begins.
    writeback_end_io;
    /// fsync begins.
    fsync;
}

/// A mapping was made. Under the extent lock, so that the order is that of the changes.
#[inline(always)]
pub(crate) fn map<F: Traced>(inode: &Inode<F>, flags: MapFlags, map: &Map) {
    fire!(map(inode.as_ptr(), flags.0, map.as_ptr()));
}

/// A buffered write found its mapping out of date: the count is `seq` now.
#[inline(always)]
pub(crate) fn write_stale<F: Traced>(inode: &Inode<F>, map: &Map, seq: u32) {
    fire!(write_stale(inode.as_ptr(), map.as_ptr(), seq));
}

/// Writeback found its mapping out of date: the count is `seq` now.
#[inline(always)]
pub(crate) fn writeback_stale<F: Traced>(inode: &Inode<F>, map: &Map, seq: u32) {
    fire!(writeback_stale(inode.as_ptr(), map.as_ptr(), seq));
}

/// Logical blocks get blocks of the device. Changes of the map are told under the extent lock,
/// when they have been counted.
#[inline(always)]
pub(crate) fn extent_insert<F: Traced>(
    inode: &Inode<F>,
    lblk: u32,
    len: u32,
    pblk: u64,
    ty: MapType,
) {
    let len = u64::from(len);
    fire!(extent_insert(
        inode.as_ptr(),
        lblk,
        len,
        pblk,
        ty.raw(),
        F::seq(inode)
    ));
}

/// Blocks become written, or unwritten.
#[inline(always)]
pub(crate) fn extent_convert<F: Traced>(inode: &Inode<F>, lblk: u32, len: u32, ty: MapType) {
    let len = u64::from(len);
    fire!(extent_convert(
        inode.as_ptr(),
        lblk,
        len,
        0,
        ty.raw(),
        F::seq(inode)
    ));
}

/// All that is in the range begins to go, mapped or reserved.
#[inline(always)]
pub(crate) fn extent_remove<F: Traced>(inode: &Inode<F>, lblk: u32, len: u64) {
    let ty = MapType::Hole;
    fire!(extent_remove(
        inode.as_ptr(),
        lblk,
        len,
        0,
        ty.raw(),
        F::seq(inode)
    ));
}

/// Part of a removal: these blocks of the device go back to the allocator.
#[inline(always)]
pub(crate) fn extent_free<F: Traced>(inode: &Inode<F>, lblk: u32, len: u32, pblk: u64) {
    let (len, ty) = (u64::from(len), MapType::Hole);
    fire!(extent_free(
        inode.as_ptr(),
        lblk,
        len,
        pblk,
        ty.raw(),
        F::seq(inode)
    ));
}

/// Events of `rext4_reserve_class`: of `len` blocks from `lblk` on `nr` changed, `reserved` are
/// reserved for the inode now.
macro_rules! reserve_events {
    ($($(#[$doc:meta])* $name:ident;)*) => {$(
        $(#[$doc])*
        #[inline(always)]
        pub(crate) fn $name<F: Traced>(
            inode: &Inode<F>,
            lblk: u32,
            len: u32,
            nr: u32,
            reserved: u32,
        ) {
            let len = u64::from(len);
            fire!($name(inode.as_ptr(), lblk, len, nr, reserved, F::seq(inode)));
        }
    )*};
}

reserve_events! {
    /// Space was reserved for delayed allocation.
    reserve_take;
    /// Reservations have become blocks.
    reserve_use;
    /// Reservations were given back.
    reserve_release;
}

/// What takes blocks away, or adds them ([`Operation`]).
#[derive(Clone, Copy)]
#[repr(u32)]
pub(crate) enum Op {
    /// The size changes: from `pos` on, the new size, `len` bytes go (0: the file grows).
    Truncate = bindings::REXT4_OP_TRUNCATE,
    /// `fallocate`.
    Allocate = bindings::REXT4_OP_ALLOCATE,
    /// `fallocate` with FALLOC_FL_PUNCH_HOLE.
    Punch = bindings::REXT4_OP_PUNCH,
    /// `fallocate` with FALLOC_FL_ZERO_RANGE.
    Zero = bindings::REXT4_OP_ZERO,
}

impl From<FallocOp> for Op {
    fn from(op: FallocOp) -> Self {
        match op {
            FallocOp::Allocate => Op::Allocate,
            FallocOp::PunchHole => Op::Punch,
            FallocOp::ZeroRange => Op::Zero,
        }
    }
}

/// How far an [`Operation`] has come; rule 5 of the data path says why in this order.
#[derive(Clone, Copy)]
#[repr(u32)]
pub(crate) enum Step {
    /// i_rwsem and invalidate_lock are held.
    Locked = bindings::REXT4_STEP_LOCKED,
    /// No direct I/O is in flight.
    Drained = bindings::REXT4_STEP_DRAINED,
    /// What must survive was written, the page cache of the range is gone.
    CacheDropped = bindings::REXT4_STEP_CACHE,
    /// Extents and reservations are gone.
    BlocksRemoved = bindings::REXT4_STEP_BLOCKS,
}

/// An operation on a range, told step by step. Begins when it is made and ends when it is dropped,
/// however it went: made before the locks are taken, it ends when they are released.
#[must_use]
pub(crate) struct Operation<'a, F: Traced> {
    inode: &'a Inode<F>,
    op: Op,
    pos: u64,
    len: u64,
}

impl<'a, F: Traced> Operation<'a, F> {
    /// Begins.
    #[inline(always)]
    pub(crate) fn begin(inode: &'a Inode<F>, op: Op, pos: u64, len: u64) -> Self {
        let operation = Self {
            inode,
            op,
            pos,
            len,
        };
        operation.tell(bindings::REXT4_STEP_BEGIN);
        operation
    }

    /// Comes to `step`.
    #[inline(always)]
    pub(crate) fn step(&self, step: Step) {
        self.tell(step as u32);
    }

    #[inline(always)]
    fn tell(&self, step: u32) {
        let (inode, op, pos, len) = (self.inode, self.op as u32, self.pos, self.len);
        fire!(step(inode.as_ptr(), op, step, pos, len, F::seq(inode)));
    }
}

impl<F: Traced> Drop for Operation<'_, F> {
    #[inline(always)]
    fn drop(&mut self) {
        self.tell(bindings::REXT4_STEP_END);
    }
}

/// A direct write is on disk, or has failed. iomap invalidates the page cache next.
#[inline(always)]
pub(crate) fn dio_end_io<F: Traced>(
    inode: &Inode<F>,
    pos: u64,
    len: u64,
    result: Result,
    unwritten: bool,
) {
    fire!(dio_end_io(
        inode.as_ptr(),
        pos,
        len,
        result.map_or_else(|e| e.to_errno(), |()| 0),
        unwritten,
        F::seq(inode)
    ));
}

/// A write fault begins; no lock of ours is held.
#[inline(always)]
pub(crate) fn page_mkwrite<F: Traced>(fault: &Fault<'_, F>) {
    let len = kernel::page::PAGE_SIZE as u64;
    fire!(page_mkwrite(
        fault.inode().as_ptr(),
        fault.pos(),
        len,
        F::seq(fault.inode())
    ));
}

/// A write fault was answered.
#[inline(always)]
pub(crate) fn page_mkwrite_done<F: Traced>(fault: &Fault<'_, F>, result: &VmFault) {
    let len = kernel::page::PAGE_SIZE as u64;
    fire!(page_mkwrite_done(
        fault.inode().as_ptr(),
        fault.pos(),
        len,
        result.bits(),
        F::seq(fault.inode())
    ));
}

/// The file size in memory is about to become `new`.
#[inline(always)]
pub(crate) fn isize_set<F: Traced>(inode: &Inode<F>, new: u64) {
    fire!(isize(inode.as_ptr(), inode.size(), new));
}

/// The file size in memory was `old` and may have changed, which iomap does by itself.
#[inline(always)]
pub(crate) fn isize_was<F: Traced>(inode: &Inode<F>, old: u64) {
    fire!(isize(inode.as_ptr(), old, inode.size()));
}

/// The file size on disk is about to become `new`.
#[inline(always)]
pub(crate) fn disize_set<F: Traced>(inode: &Inode<F>, new: u64) {
    fire!(disize(inode.as_ptr(), F::disk_size(inode), new));
}

/// What happens at the gate between a direct write and those who add pages.
#[derive(Clone, Copy)]
#[repr(u32)]
pub(crate) enum Gate {
    /// The writer has closed it.
    Closed = bindings::REXT4_GATE_CLOSED,
    /// The writer has opened it.
    Opened = bindings::REXT4_GATE_OPENED,
    /// Somebody found it closed, and waits.
    Wait = bindings::REXT4_GATE_WAIT,
    /// Who waited goes on.
    Passed = bindings::REXT4_GATE_PASSED,
}

/// Somebody is at the gate.
#[inline(always)]
pub(crate) fn gate<F: Traced>(inode: &Inode<F>, pos: u64, len: u64, action: Gate) {
    fire!(gate(inode.as_ptr(), pos, len, action as u32, F::seq(inode)));
}

/// What happens at a delay point.
#[derive(Clone, Copy)]
#[repr(u32)]
pub(crate) enum Point {
    /// A thread came to it and waits.
    Reached = bindings::REXT4_POINT_REACHED,
    /// It was let go.
    Released = bindings::REXT4_POINT_RELEASED,
    /// It was not let go in time, and goes on.
    TimedOut = bindings::REXT4_POINT_TIMED_OUT,
}

/// A thread is at the delay point `name`.
#[inline(always)]
pub(crate) fn point<F: Traced>(
    inode: &Inode<F>,
    name: &'static CStr,
    pos: u64,
    len: u64,
    action: Point,
) {
    fire!(point(
        inode.as_ptr(),
        name.as_char_ptr(),
        action as u32,
        pos,
        len,
        F::seq(inode)
    ));
}
