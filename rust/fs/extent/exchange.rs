// SPDX-License-Identifier: GPL-2.0

//! Blocks that two files exchange, in one handle: no crash and no error leaves them in both files,
//! or in none. What is between the look and the exchange is the caller's business.

use super::{event_blocks, tree, Extents, Mapping, State};
use crate::{
    disk::{extent::Extent, LblkRange},
    fs::{alloc::BlockKind, Inode},
    trace,
    vfs::{jbd2::Handle, nofs},
};
use kernel::prelude::*;

/// The extent maps of two inodes, both locked, that of the lower number first.
pub(crate) struct TwoExtents<'a> {
    // Dropped before the first, as what is inside of it.
    second: Extents<'a>,
    first: Extents<'a>,
    /// Whether the first is the donor's.
    donor_first: bool,
}

/// Extents that two files have where they are to be exchanged, as many blocks of each.
#[derive(Clone, Copy)]
pub(crate) struct Exchange {
    pub(crate) orig: Mapping,
    pub(crate) donor: Mapping,
}

impl Exchange {
    /// Whether there are blocks at both places. Else there is nothing to be exchanged.
    pub(crate) fn is_mapped(&self) -> bool {
        let mapped = |state| matches!(state, State::Unwritten | State::Written);
        mapped(self.orig.state) && mapped(self.donor.state)
    }

    /// Whether the two share blocks, which no two files do.
    fn overlaps(&self) -> bool {
        let (orig, donor) = (self.orig.pblk, self.donor.pblk);
        orig < donor + u64::from(self.donor.len) && donor < orig + u64::from(self.orig.len)
    }
}

impl<'a> TwoExtents<'a> {
    /// Takes both extent locks. The two are not one.
    pub(crate) fn lock(orig: &'a Inode, donor: &'a Inode) -> Self {
        let donor_first = donor.ino() < orig.ino();
        let (first, second) = if donor_first {
            (donor, orig)
        } else {
            (orig, donor)
        };
        let first = first.extents();
        Self {
            second: Extents {
                inode: second,
                map: nofs::lock_second(&second.info().extents),
                cached: false,
            },
            first,
            donor_first,
        }
    }

    /// The original's, and the donor's.
    fn both(&mut self) -> (&mut Extents<'a>, &mut Extents<'a>) {
        if self.donor_first {
            (&mut self.second, &mut self.first)
        } else {
            (&mut self.first, &mut self.second)
        }
    }

    /// What is at the first of the blocks in both, for as long as it is one extent, or hole, in
    /// both.
    #[inline(never)]
    pub(crate) fn lookup(&mut self, orig: LblkRange, donor: LblkRange) -> Result<Exchange> {
        let (of_orig, of_donor) = self.both();
        let (mut orig, mut donor) = (of_orig.lookup(orig)?, of_donor.lookup(donor)?);
        let len = orig.len.min(donor.len);
        (orig.len, donor.len) = (len, len);
        let found = Exchange { orig, donor };
        if found.is_mapped() && found.overlaps() {
            let ino = of_donor.inode.ino();
            return Err(of_orig
                .inode
                .corrupted(fmt!("shares blocks with inode {}", ino)));
        }
        Ok(found)
    }

    /// Gives each file the blocks that the other has, where this was found. Both become what the
    /// original's are, written or unwritten. `ENOSPC`; after any error both are as before. The
    /// caller journals both inodes. Costs [`credits::INSERT`](crate::fs::credits::INSERT) twice.
    #[inline(never)]
    pub(crate) fn exchange(&mut self, handle: &Handle<'_>, what: &Exchange) -> Result {
        let Exchange { orig, donor } = what;
        let (of_orig, of_donor) = self.both();
        let promised = of_orig.about_to_get(handle, orig, donor);
        let mut nodes = of_orig.begin_change(handle, (BlockKind::Metadata, promised));
        let promised = of_donor.about_to_get(
            handle,
            &Mapping {
                state: orig.state,
                ..*donor
            },
            orig,
        );
        let mut donor_nodes = of_donor.begin_change(handle, (BlockKind::Metadata, promised));
        let result = tree::exchange_parts(
            tree::TreePart {
                store: &mut nodes,
                root: &mut of_orig.map.root,
                part: extent(orig),
            },
            tree::TreePart {
                store: &mut donor_nodes,
                root: &mut of_donor.map.root,
                part: extent(donor),
            },
        );
        of_orig.end_change(nodes);
        of_donor.end_change(donor_nodes);
        of_orig.settle();
        of_donor.settle();
        result
    }
}

impl Extents<'_> {
    /// The map is about to have the blocks `new` where `old` is. Returns whether the change may use
    /// what is promised.
    #[inline(never)]
    fn about_to_get(&mut self, handle: &Handle<'_>, old: &Mapping, new: &Mapping) -> bool {
        let inode = self.inode;
        self.bump_tree(old.blocks());
        trace::extent_insert(
            inode,
            event_blocks(old.blocks()),
            new.pblk.get(),
            old.state.into(),
        );
        // As for a conversion: the inode itself may not change.
        inode.info().set_datasync_tid(handle.tid());
        self.secure_other()
    }
}

/// The same for the algorithms of the tree.
fn extent(found: &Mapping) -> Extent {
    Extent {
        lblk: found.lblk,
        len: found.len,
        pblk: found.pblk,
        unwritten: found.state == State::Unwritten,
    }
}
