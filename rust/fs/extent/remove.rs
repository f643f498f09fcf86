// SPDX-License-Identifier: GPL-2.0

//! Blocks that go: unmapped and freed from the end on, in steps of one handle each.

use super::{
    sub_blocks,
    tree,
    ExtentMap,
    Progress,
    STEP_GROUPS,
    STEP_REVOKES, //
};
use crate::{
    disk::{self, superblock::MAX_FILE_BLOCKS},
    fs::{
        alloc::{self, Kind},
        inode::INODE_CREDITS,
        Inode,
    },
    vfs::{jbd2::Handle, trace},
};
use kernel::prelude::*;

/// How many of the last blocks of an extent lie in so few groups that a step can free them.
fn step_blocks(inode: &Inode, e: &disk::extent::Extent) -> u32 {
    let geo = &inode.fs().geo;
    let end = e.pblk + u64::from(e.len);
    match geo.block_group(end.saturating_sub(1)) {
        Some((last, _)) => {
            let first = geo.group_first_block(last.saturating_sub(STEP_GROUPS - 1));
            end.saturating_sub(first.max(e.pblk)) as u32
        }
        // Freeing them will say what is wrong.
        None => 1,
    }
}

/// Unmaps and frees what is mapped or reserved in `[start, end)`, from the end on, as far as the
/// handle's credits go ([`ExtentMap::remove_credits`] and those of the inode, with revokes). The page cache of the range is gone.
/// The caller journals the inode also after an error.
pub(crate) fn remove(
    handle: &Handle<'_>,
    inode: &Inode,
    map: &mut ExtentMap,
    start: u32,
    end: u64,
) -> Result<Progress> {
    let result = remove_some(handle, inode, map, start, end);
    map.settle(inode);
    result
}

fn remove_some(
    handle: &Handle<'_>,
    inode: &Inode,
    map: &mut ExtentMap,
    start: u32,
    end: u64,
) -> Result<Progress> {
    let end = end.min(MAX_FILE_BLOCKS);
    let Some(len) = end.checked_sub(start.into()).filter(|n| *n > 0) else {
        return Ok(Progress::Done);
    };
    map.bump(&inode.node().seq);
    trace::extent_remove(inode, start, len);
    if !map.reserved.is_empty() {
        let n = map.reserved.remove(start, len as u32);
        alloc::unreserve(inode.sb(), n);
        let total = map.show_reserved(inode);
        trace::reserve_release(inode, start, len as u32, n, total);
    }
    map.end_expected(start, len as u32);
    let metadata = !inode.is_file();
    // The inode is journaled after. The first step, too, may be more than the handle was made for.
    let step = map.step_credits(inode, start, end) + INODE_CREDITS;
    let records = handle.credits();
    let (mut end, mut revoked) = (end, 0);
    loop {
        if handle.credits() < step || records.saturating_sub(revoked) < step {
            return Ok(Progress::Continue(end));
        }
        let promised = map.secure_other(inode);
        let (cut, freed) =
            map.change(inode, handle, Kind::Completion, promised, |nodes, root| {
                let cut = tree::cut(nodes, root, start, end, |e| match metadata {
                    true => STEP_REVOKES,
                    false => step_blocks(inode, e),
                })?;
                Ok((cut, nodes.freed))
            })?;
        let Some(gone) = cut else {
            return Ok(Progress::Done);
        };
        trace::extent_free(inode, gone.lblk, gone.len, gone.pblk);
        sub_blocks(inode, gone.len);
        alloc::free(
            handle,
            inode.sb(),
            Some(inode),
            gone.pblk,
            gone.len,
            metadata,
        )?;
        end = gone.lblk.into();
        // Bitmaps that the handle has already cost nothing more, but revoke records add up.
        revoked += freed + if metadata { gone.len } else { 0 };
    }
}
