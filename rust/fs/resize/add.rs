// SPDX-License-Identifier: GPL-2.0

//! Groups behind the last one, which is full.

use super::{copies, outside, refuse_size, reserve::Reserve};
use crate::{
    disk::{
        grow::{GrowStep, SizeError},
        Geometry,
        GroupDesc, //
    },
    fs::{
        alloc::NewGroups,
        credits,
        grows::Growing,
        primary::{change_super, super_access},
        Sb, //
    },
    vfs::{bh::BufferHead, jbd2::JournaledBuffer},
};
use core::ops::Range;
use kernel::{error::code::*, prelude::*};

/// Bytes of a descriptor, at most.
const MAX_DESC_SIZE: usize = 64;

/// Adds the groups of a step, the metadata of which `place` gives a place.
#[inline(never)]
pub(super) fn add_groups(
    sb: &Sb,
    right: &Growing<'_>,
    (step, place): (
        &GrowStep,
        impl FnOnce(&Geometry, &mut [GroupDesc]) -> Result,
    ),
) -> Result {
    let fs = sb.data();
    let geo = grown(sb, step)?;
    let groups = step.groups.clone();
    let mut descs = KVVec::from_elem(GroupDesc::default(), groups.len(), GFP_KERNEL)?;
    place(&geo, &mut descs)?;
    let reserve = Reserve::open(sb, &geo, &groups)?;
    outside::write(sb, &geo, (&groups, &mut descs))?;
    let (table, is_new) = table_block(sb, &geo, groups.start)?;
    let mut more = KVVec::new();
    if is_new {
        more.push(table.clone(), GFP_KERNEL)?;
    }
    let new = NewGroups::prepare(sb, &geo, &descs, more)?;
    let mut root_blocks = 0;
    let listing = reserve.as_ref().map_or(0, |r| r.listing());

    let handle = fs.start(credits::new_groups(listing))?;
    let mut super_block = super_access(&handle, fs)?;
    let mut desc_block = handle.write(&table)?;
    let change = reserve.as_ref().map(|r| r.access(&handle)).transpose()?;
    // All rights are there: from here on nothing fails.
    if is_new {
        desc_block.zero(0..table.size())?;
    }
    write_descs(&mut desc_block, &geo, (groups.clone(), &descs))?;
    if let (Some(reserve), Some(change)) = (&reserve, change) {
        reserve.apply(sb, change)?;
    }
    change_super(fs, &mut super_block, |raw| {
        let mut size = raw.size();
        size.grow(&geo, new.free_blocks());
        raw.set_size(&size);
        root_blocks = size.root_blocks;
    })?;
    desc_block.finish()?;
    super_block.finish()?;
    handle.stop()?;

    NewGroups::publish(new, sb, right)?;
    fs.groups.set_root_blocks(&fs.geo, root_blocks);
    copies::update_copies(sb, Some(&table));
    Ok(())
}

/// The geometry after a step, in memory of its own for the sake of the stack.
#[inline(never)]
fn grown(sb: &Sb, step: &GrowStep) -> Result<KBox<Geometry>> {
    let geo = sb.data().geo.grown(step.blocks).map_err(|e| match e {
        // The caller has asked for it already, or names a group by itself.
        SizeError::NoDescriptors => EPERM,
        e => refuse_size(sb, e),
    })?;
    Ok(KBox::new(geo, GFP_KERNEL)?)
}

/// The groups that `geo` has more are on the disk already: now in memory, too.
#[inline(never)]
pub(super) fn add_known(sb: &Sb, right: &Growing<'_>, geo: Geometry) -> Result {
    let fs = sb.data();
    let (mut descs, mut more) = (KVVec::new(), KVVec::<BufferHead>::new());
    for group in fs.geo.groups_count..geo.groups_count {
        let (bh, is_new) = match more.last() {
            Some(last) if last.blocknr() == geo.desc_location(group).0 => (last.clone(), false),
            _ => table_block(sb, &geo, group)?,
        };
        let mut raw = [0u8; MAX_DESC_SIZE];
        let raw = raw.get_mut(..geo.desc_size.into()).ok_or(EINVAL)?;
        bh.copy_out(geo.desc_location(group).1 as usize, raw)?;
        let desc = GroupDesc::decode_checked(raw, &geo, group)
            .map_err(|what| sb.corrupted(fmt!("group {group}: {what}")))?;
        descs.push(desc, GFP_KERNEL)?;
        if is_new {
            more.push(bh, GFP_KERNEL)?;
        }
    }
    let new = NewGroups::prepare(sb, &geo, &descs, more)?;
    NewGroups::publish(new, sb, right)
}

/// The block of the table that has the descriptors of new groups, and whether it becomes one just
/// now. It is in memory.
#[inline(never)]
fn table_block(sb: &Sb, geo: &Geometry, group: u32) -> Result<(BufferHead, bool)> {
    let fs = sb.data();
    if let Some(bh) = fs.groups.table_block(geo, group) {
        return Ok((bh.clone(), false));
    }
    let (block, _) = geo.desc_location(group);
    Ok((sb.bread(block)?, true))
}

#[inline(never)]
fn write_descs(
    block: &mut JournaledBuffer<'_>,
    geo: &Geometry,
    (groups, descs): (Range<u32>, &[GroupDesc]),
) -> Result {
    for (group, desc) in groups.zip(descs) {
        let mut raw = [0u8; MAX_DESC_SIZE];
        let raw = raw.get_mut(..geo.desc_size.into()).ok_or(EINVAL)?;
        desc.encode(raw, geo, group).map_err(|_| EINVAL)?;
        let (_, off) = geo.desc_location(group);
        block.copy_in(off as usize, raw)?;
    }
    Ok(())
}
