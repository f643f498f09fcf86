// SPDX-License-Identifier: GPL-2.0

//! What a search of the map found, as what may be done there: blocks can be used, a hole can be
//! filled.

use super::{
    add_blocks, event_blocks, held::in_one_array, pointers, tree, Extents, MapKind, Mapping, State,
};
use crate::{
    disk::{
        extent::{self as format, MAX_UNWRITTEN_LEN, MAX_WRITTEN_LEN},
        LblkRange,
        Pblk, //
    },
    fs::{
        alloc::{self, AllocRequest, BlockKind, Claim, Promise, Revoke},
        lab, Inode,
    },
    trace,
    vfs::{jbd2::Handle, RequestId},
};
use kernel::prelude::*;

/// What is at a logical block, under the extent lock.
pub(crate) enum ExtentEntry<'e, 'a> {
    /// Blocks, unwritten or written.
    Mapped(Mapping),
    /// None, whether space is reserved or not.
    Hole(Hole<'e, 'a>),
}

/// What the blocks of an inode are for: those of directories and symbolic links are metadata.
fn block_kind(inode: &Inode) -> BlockKind {
    if inode.is_file() {
        BlockKind::Data
    } else {
        BlockKind::Metadata
    }
}

/// Logical blocks without blocks. It borrows the map, so it is one for as long as it lives: nobody
/// can fill it or reserve it between the look and what follows, and who has used it has it no more.
#[must_use = "the lookup was for nothing"]
pub(crate) struct Hole<'e, 'a> {
    extents: &'e mut Extents<'a>,
    place: Mapping,
    /// The extent before it in the file.
    prev: Option<format::Extent>,
}

impl Extents<'_> {
    /// Maps blocks.
    fn insert(
        &mut self,
        handle: &Handle<'_>,
        (kind, promised): (BlockKind, bool),
        new: &format::Extent,
    ) -> Result {
        let is_tree = self.map.kind == MapKind::Tree;
        self.change(handle, kind, promised, |nodes, root| {
            if is_tree {
                tree::insert(nodes, root, new)
            } else {
                pointers::place_run(nodes, root, new, |_| Ok(()))
            }
        })
    }
}

impl<'e, 'a> Hole<'e, 'a> {
    pub(super) fn new(
        extents: &'e mut Extents<'a>,
        place: Mapping,
        prev: Option<format::Extent>,
    ) -> Self {
        Self {
            extents,
            place,
            prev,
        }
    }

    /// Where it is, and how long; all of it is in one state.
    pub(crate) fn place(&self) -> Mapping {
        self.place
    }

    /// Whether space is reserved for it.
    pub(crate) fn is_reserved(&self) -> bool {
        self.place.state == State::Reserved
    }

    /// The first block on disk to try. A gap in the file keeps its width on disk: what fills it
    /// later has its place. Without one, near the inode.
    fn goal(&self) -> Option<Pblk> {
        let gap = |e: format::Extent| e.pblk + u64::from(self.place.lblk.saturating_sub(e.lblk));
        self.prev.map(gap)
    }

    /// Reserves space for the first blocks, `most` at most, which are not reserved yet. Returns
    /// what was: one block at least, `ENOSPC` if there is none.
    pub(crate) fn reserve(self, most: u32) -> Result<Mapping> {
        let mut place = self.place;
        place.len = place.len.min(most);
        let inode = self.extents.inode;
        let bits = inode.fs().geo.block_bits;
        lab::pause_reservation(inode, place.blocks().bytes(bits), &mut self.extents.map);
        if let Err(e) = self.extents.reserve(place.blocks()) {
            if e != ENOSPC || place.len == 1 {
                return Err(e);
            }
            // Nearly full: one block at a time gets the most out of it.
            place.len = 1;
            self.extents.reserve(place.blocks())?;
        }
        place.state = State::Reserved;
        Ok(place)
    }

    /// As [`Hole::fill`], with unwritten blocks that a direct write is on its way to. Before, they
    /// are promised what their conversion may take ([`Extents::expect_direct`]).
    pub(crate) fn fill_direct(
        self,
        handle: &Handle<'_>,
        want: u32,
        request: RequestId,
    ) -> Result<Mapping> {
        let Hole {
            extents,
            place,
            prev,
        } = self;
        let wanted = place.blocks().first(want);
        extents.expect_direct(request, wanted)?;
        let hole = Hole::new(extents, place, prev);
        let new = if hole.extents.holds_blocks() {
            hole.hold(handle, want)
        } else {
            hole.allocate(handle, want, State::Unwritten)
        };
        let got = new.as_ref().map_or(place.lblk, |new| new.blocks().end);
        if got < wanted.end {
            extents.land(request, got);
        }
        new
    }

    /// Allocates blocks for the first `want` logical ones and maps them in `state`. Returns what
    /// was mapped, which may be shorter. The caller journals the inode in the same handle, after it
    /// has dropped the lock. Costs [`credits::ALLOC`] and [`credits::INSERT`].
    ///
    /// Unwritten ones of a block map are held ([`super::held`]), and data is on its way to them.
    pub(crate) fn fill(self, handle: &Handle<'_>, want: u32, state: State) -> Result<Mapping> {
        let Hole {
            extents,
            place,
            prev,
        } = self;
        let hole = Hole::new(extents, place, prev);
        if !hole.extents.holds_blocks() || state != State::Unwritten {
            return hole.allocate(handle, want, state);
        }
        let new = hole.hold(handle, want)?;
        extents.expect_held(new.blocks());
        Ok(new)
    }

    /// Holds blocks for the first `want` logical ones. Returns them, one at least. The caller says
    /// that data is on its way to them before it drops the lock.
    #[inline(never)]
    fn hold(self, handle: &Handle<'_>, want: u32) -> Result<Mapping> {
        let (goal, reserved) = (self.goal(), self.is_reserved());
        let (extents, place) = (self.extents, self.place);
        let inode = extents.inode;
        let wanted = in_one_array(inode, place.blocks().first(want))?;
        let request = AllocRequest {
            goal,
            want: wanted.len(),
            min: 1,
            kind: BlockKind::Data,
            claim: Claim::Hold,
        };
        let mut promise = reserved.then(|| extents.map.blocks.take(inode.sb(), request.want));
        let held = alloc::hold_run(handle, inode, request, promise.as_mut());
        if let Some(rest) = promise {
            extents.map.blocks.add(rest);
        }
        let (pblk, len, promise) = held?;
        let run = format::Extent {
            lblk: place.lblk,
            len,
            pblk,
            unwritten: true,
        };
        let state = State::Unwritten;
        extents.bump_tree(run.blocks());
        trace::extent_insert(inode, event_blocks(run.blocks()), pblk.get(), state.into());
        extents.map.held_promise.add(promise);
        // Does not fail.
        let _ = extents.map.held.insert(&run);
        if reserved {
            extents.use_reserved(run.blocks());
        }
        extents.show_reserved();
        Ok(Mapping::part(&run, run.blocks()))
    }

    /// [`Hole::fill`], with blocks that the map on disk has from now on.
    fn allocate(self, handle: &Handle<'_>, want: u32, state: State) -> Result<Mapping> {
        let (inode, lblk) = (self.extents.inode, self.place.lblk);
        let reserved = self.is_reserved();
        let longest = match state {
            State::Unwritten => MAX_UNWRITTEN_LEN,
            _ => MAX_WRITTEN_LEN,
        };
        let goal = self.goal();
        let extents = self.extents;
        let mut wanted = self.place.blocks().first(want.min(longest));
        if extents.holds_blocks() {
            wanted = in_one_array(inode, wanted)?;
        }
        // Data of somebody else that was accepted comes before what can still be refused.
        let (kind, promised) = if reserved {
            (BlockKind::Completion, true)
        } else {
            (BlockKind::Metadata, extents.secure_other())
        };
        let request = AllocRequest {
            goal,
            want: wanted.len(),
            min: 1,
            kind: block_kind(inode),
            claim: Claim::Allocate,
        };
        let mut promise = reserved.then(|| extents.map.blocks.take(inode.sb(), request.want));
        let allocated = alloc::allocate_run(handle, inode, request, promise.as_mut());
        if let Some(rest) = promise {
            extents.map.blocks.add(rest);
        }
        let (pblk, len) = allocated?;

        let blocks = lblk.blocks(len);
        extents.bump_tree(blocks);
        trace::extent_insert(inode, event_blocks(blocks), pblk.get(), state.into());
        let new = format::Extent {
            lblk,
            len,
            pblk,
            unwritten: state == State::Unwritten,
        };
        let result = extents.insert(handle, (kind, promised), &new);
        if let Err(e) = result {
            put_back(extents, handle, (blocks, pblk), reserved);
            return Err(e);
        }
        if reserved {
            extents.use_reserved(blocks);
        }
        extents.settle();
        add_blocks(inode, len);
        Ok(Mapping {
            lblk,
            len,
            pblk,
            state,
        })
    }
}

/// Frees blocks that were found for `blocks` and cannot be mapped. What is reserved stays so.
fn put_back(
    extents: &mut Extents<'_>,
    handle: &Handle<'_>,
    (blocks, pblk): (LblkRange, Pblk),
    reserved: bool,
) {
    let (inode, len) = (extents.inode, blocks.len());
    let again = reserved.then(|| Promise::freeing(inode.sb(), len));
    // Never journaled, so there is nothing to revoke.
    let freed = alloc::free_run(handle, inode, (pblk, len), Revoke::No);
    if reserved {
        extents.promise_again(blocks, again.filter(|_| freed == Ok(len)));
    }
    extents.settle();
}
