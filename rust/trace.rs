// SPDX-License-Identifier: GPL-2.0

//! rext4's trace events: what the data path did, in which order, for which inode.
//!
//! How an event is told, and what one costs that is off: [`crate::vfs::trace`].
//!
//! Arguments of the functions here are values that the caller has at hand. What must be looked up
//! (sequence number, sizes) is looked up behind the branch, by [`Traced`] or in `trace.h`.
//!
//! C header: `rust/trace.h`

use crate::vfs::{
    dio::Ended,
    file::FallocOp,
    iomap::{Map, MapFlags, MapType},
    mmap::{Fault, VmFault},
    super_block::FileSystem,
    trace::fire,
    Inode, //
};
use core::ops::Range;
use kernel::str::CStr;

/// What bindgen has made of `trace.h`.
mod bindings {
    #![allow(
        clippy::all,
        dead_code,
        missing_docs,
        non_upper_case_globals,
        unreachable_pub,
        unused_imports,
        improper_ctypes
    )]

    use crate::vfs::trace::raw::*;
    use kernel::ffi;

    include!(env!("REXT4_TRACE_BINDINGS"));
}

/// What events tell of an inode that their caller does not.
pub(crate) trait Traced: FileSystem {
    /// The sequence number of the extent map, of the bits that fit.
    fn seq(inode: &Inode<Self>) -> u32;

    /// File size on disk in bytes.
    fn disk_size(inode: &Inode<Self>) -> u64;
}

/// `tell!(name(field, field: value, ...))`: the event `rext4_name` of `trace.h`; see [`fire`].
macro_rules! tell {
    ($name:ident($($fields:tt)*)) => {
        kernel::macros::paste! { fire!(bindings, [<rext4_ $name>]($($fields)*)) }
    };
}

const _: () = assert!(MapFlags::WRITEBACK.bits() == bindings::REXT4_MAP_WRITEBACK);

/// Events of `rext4_range_class`: bytes of a file, and the sequence number.
macro_rules! range_events {
    ($($(#[$doc:meta])* $name:ident;)*) => {$(
        $(#[$doc])*
        #[inline(always)]
        pub(crate) fn $name<F: Traced>(inode: &Inode<F>, pos: u64, len: u64) {
            tell!($name(inode, pos, len, seq: F::seq(inode)));
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
    tell!(map(inode, flags: flags.bits(), map));
}

/// A buffered write found its mapping out of date: the count is `seq` now.
#[inline(always)]
pub(crate) fn write_stale<F: Traced>(inode: &Inode<F>, map: &Map, seq: u32) {
    tell!(write_stale(inode, map, seq));
}

/// Writeback found its mapping out of date: the count is `seq` now.
#[inline(always)]
pub(crate) fn writeback_stale<F: Traced>(inode: &Inode<F>, map: &Map, seq: u32) {
    tell!(writeback_stale(inode, map, seq));
}

/// Logical blocks get blocks of the device. Changes of the map are told under the extent lock, when
/// they have been counted.
#[inline(always)]
pub(crate) fn extent_insert<F: Traced>(
    inode: &Inode<F>,
    blocks: Range<u32>,
    pblk: u64,
    ty: MapType,
) {
    let (lblk, len) = (blocks.start, blocks.len() as u64);
    tell!(extent_insert(inode, lblk, len, pblk, ty: ty.raw(), seq: F::seq(inode)));
}

/// Blocks become written, or unwritten.
#[inline(always)]
pub(crate) fn extent_convert<F: Traced>(inode: &Inode<F>, blocks: Range<u32>, ty: MapType) {
    let (lblk, len) = (blocks.start, blocks.len() as u64);
    tell!(extent_convert(inode, lblk, len, pblk: 0_u64, ty: ty.raw(), seq: F::seq(inode)));
}

/// All that is in the range begins to go, mapped or reserved.
#[inline(always)]
pub(crate) fn extent_remove<F: Traced>(inode: &Inode<F>, blocks: Range<u32>) {
    let (lblk, len, ty) = (blocks.start, blocks.len() as u64, MapType::Hole);
    tell!(extent_remove(inode, lblk, len, pblk: 0_u64, ty: ty.raw(), seq: F::seq(inode)));
}

/// Part of a removal: these blocks of the device go back to the allocator.
#[inline(always)]
pub(crate) fn extent_free<F: Traced>(inode: &Inode<F>, blocks: Range<u32>, pblk: u64) {
    let (lblk, len, ty) = (blocks.start, blocks.len() as u64, MapType::Hole);
    tell!(extent_free(inode, lblk, len, pblk, ty: ty.raw(), seq: F::seq(inode)));
}

/// Events of `rext4_reserve_class`: of the logical blocks `nr` changed, `reserved` are reserved for
/// the inode now.
macro_rules! reserve_events {
    ($($(#[$doc:meta])* $name:ident;)*) => {$(
        $(#[$doc])*
        #[inline(always)]
        pub(crate) fn $name<F: Traced>(
            inode: &Inode<F>,
            blocks: Range<u32>,
            nr: u32,
            reserved: u32,
        ) {
            let (lblk, len) = (blocks.start, blocks.len() as u64);
            tell!($name(inode, lblk, len, nr, reserved, seq: F::seq(inode)));
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
    /// `fallocate` with FALLOC_FL_COLLAPSE_RANGE.
    Collapse = bindings::REXT4_OP_COLLAPSE,
    /// `fallocate` with FALLOC_FL_INSERT_RANGE.
    Insert = bindings::REXT4_OP_INSERT,
    /// `fallocate` with FALLOC_FL_WRITE_ZEROES.
    WriteZeroes = bindings::REXT4_OP_WRITE_ZEROES,
}

impl From<FallocOp> for Op {
    fn from(op: FallocOp) -> Self {
        match op {
            FallocOp::Allocate => Op::Allocate,
            FallocOp::PunchHole => Op::Punch,
            FallocOp::ZeroRange => Op::Zero,
            FallocOp::CollapseRange => Op::Collapse,
            FallocOp::InsertRange => Op::Insert,
            FallocOp::WriteZeroes => Op::WriteZeroes,
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
        tell!(step(inode, op, step, pos, len, seq: F::seq(inode)));
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
pub(crate) fn dio_end_io<F: Traced>(inode: &Inode<F>, pos: u64, ended: &Ended) {
    tell!(dio_end_io(
        inode,
        pos,
        len: ended.size,
        result: ended.error.map_or_else(|e| e.to_errno(), |()| 0),
        unwritten: ended.unwritten,
        seq: F::seq(inode),
    ));
}

/// A write fault begins; no lock of ours is held.
#[inline(always)]
pub(crate) fn page_mkwrite<F: Traced>(fault: &Fault<'_, F>) {
    let (inode, len) = (fault.inode(), kernel::page::PAGE_SIZE as u64);
    tell!(page_mkwrite(inode, pos: fault.pos(), len, seq: F::seq(inode)));
}

/// A write fault was answered.
#[inline(always)]
pub(crate) fn page_mkwrite_done<F: Traced>(fault: &Fault<'_, F>, result: &VmFault<'_>) {
    let (inode, len) = (fault.inode(), kernel::page::PAGE_SIZE as u64);
    let pos = fault.pos();
    tell!(page_mkwrite_done(inode, pos, len, result: result.bits(), seq: F::seq(inode)));
}

/// The file size in memory is about to become `new`.
#[inline(always)]
pub(crate) fn isize_set<F: Traced>(inode: &Inode<F>, new: u64) {
    tell!(isize(inode, old: inode.size(), new));
}

/// The file size in memory was `old` and may have changed, which iomap does by itself.
#[inline(always)]
pub(crate) fn isize_was<F: Traced>(inode: &Inode<F>, old: u64) {
    tell!(isize(inode, old, new: inode.size()));
}

/// The file size on disk is about to become `new`.
#[inline(always)]
pub(crate) fn disize_set<F: Traced>(inode: &Inode<F>, new: u64) {
    tell!(disize(inode, old: F::disk_size(inode), new));
}

/// What happens at the gate between a direct write and those who add pages.
#[derive(Clone, Copy)]
#[repr(u32)]
pub(crate) enum GateAction {
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
pub(crate) fn gate<F: Traced>(inode: &Inode<F>, pos: u64, len: u64, action: GateAction) {
    tell!(gate(inode, pos, len, action: action as u32, seq: F::seq(inode)));
}

/// What happens at a delay point.
#[derive(Clone, Copy)]
#[repr(u32)]
pub(crate) enum PointAction {
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
    range: &Range<u64>,
    action: PointAction,
) {
    let (pos, len) = (range.start, range.end - range.start);
    tell!(point(inode, name, action: action as u32, pos, len, seq: F::seq(inode)));
}
