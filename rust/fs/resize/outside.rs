// SPDX-License-Identifier: GPL-2.0

//! What new groups have of metadata, written where nothing of the file system is yet.
//!
//! It is on the device when this returns, and the record of the commit that makes it part of the
//! file system is written behind a flush of the device's cache. If the commit never comes, nobody
//! looks at these blocks.

use crate::{
    disk::{
        group::{
            bitmap_csum,
            initial_block_bitmap,
            initial_inode_bitmap,
            BitmapKind,
            BLOCK_UNINIT,
            INODE_UNINIT, //
        },
        Geometry,
        GroupDesc, //
    },
    fs::{primary::read_scratch, Sb},
};
use core::ops::Range;
use kernel::{error::code::*, prelude::*};
use zerocopy::IntoBytes;

/// Writes it all, and puts the checksums of bitmaps into the descriptors. `geo` has the groups
/// already. `EIO`, `ENOMEM`: to no harm.
pub(super) fn write(
    sb: &Sb,
    geo: &Geometry,
    (groups, descs): (&Range<u32>, &mut [GroupDesc]),
) -> Result {
    let mut block = KVec::from_elem(0u8, geo.block_size as usize, GFP_KERNEL)?;
    for group in groups.clone().filter(|&group| geo.group_has_super(group)) {
        write_copies(sb, geo, (group, &mut block))?;
    }
    for (at, group) in groups.clone().enumerate() {
        let Some(desc) = descs.get(at) else { break };
        let table = desc.inode_table;
        sb.zero_outside(table..table + u64::from(geo.itable_blocks))?;
        let (blocks, inodes) = write_bitmaps(sb, geo, (group, at), (descs, &mut block))?;
        let Some(desc) = descs.get_mut(at) else { break };
        desc.set_bitmap_csum(geo, BitmapKind::Block, blocks);
        desc.set_bitmap_csum(geo, BitmapKind::Inode, inodes);
    }
    Ok(())
}

/// The copies of super block and descriptors, as they are now, and what is kept for more.
fn write_copies(sb: &Sb, geo: &Geometry, (group, block): (u32, &mut KVec<u8>)) -> Result {
    let fs = sb.data();
    let first = geo.group_first_block(group).get();
    block.fill(0);
    // No memory is taken with the lock of the super block: reclaim may want a handle, and who has
    // one may wait for the lock.
    read_scratch(fs, |raw| {
        raw.make_backup(group);
        let bytes = raw.as_bytes();
        let copy = block.get_mut(..bytes.len()).ok_or(EINVAL)?;
        copy.copy_from_slice(bytes);
        Ok::<(), Error>(())
    })??;
    sb.write_outside(first, block)?;

    let table = first + 1;
    let reserve = table + u64::from(geo.gdt_blocks);
    for (at, index) in (table..reserve).zip(0..) {
        match fs.groups.table_block(geo, index * geo.descs_per_block()) {
            Some(bh) => bh.copy_out(0, block)?,
            None => block.fill(0),
        }
        sb.write_outside(at, block)?;
    }
    sb.zero_outside(reserve..reserve + u64::from(geo.reserved_gdt_blocks))
}

/// The bitmaps of a group, as far as it is to have any; their checksums. 0 where there is none.
fn write_bitmaps(
    sb: &Sb,
    geo: &Geometry,
    (group, at): (u32, usize),
    (descs, block): (&[GroupDesc], &mut KVec<u8>),
) -> Result<(u32, u32)> {
    let desc = descs.get(at).ok_or(EINVAL)?;
    let csum = |which, map: &[u8]| bitmap_csum(geo, which, map).map_err(|_| EINVAL);
    let (mut blocks, mut inodes) = (0, 0);
    if desc.flags & BLOCK_UNINIT == 0 {
        let all = descs.iter().flat_map(|desc| desc.metadata(geo));
        let free = initial_block_bitmap(geo, group, block, all).map_err(|_| EINVAL)?;
        if free != desc.free_blocks {
            // Two structures in one block.
            return Err(EINVAL);
        }
        sb.write_outside(desc.block_bitmap, block)?;
        blocks = csum(BitmapKind::Block, block)?;
    }
    if desc.flags & INODE_UNINIT == 0 {
        initial_inode_bitmap(geo, block);
        sb.write_outside(desc.inode_bitmap, block)?;
        inodes = csum(BitmapKind::Inode, block)?;
    }
    Ok((blocks, inodes))
}
