// SPDX-License-Identifier: GPL-2.0

//! A mounted file system becomes larger (`resize2fs`).
//!
//! It does so by steps ([`disk::grow`](crate::disk::grow)), and each step is one transaction: after
//! a power cut there are as many whole groups as have committed. What a step needs beyond the end
//! of the file system is written before it, past the journal, where nothing leads to yet:
//!
//! ```text
//!   add.rs       groups, by their order:
//!   outside.rs     1. copies, bitmaps, inode tables, in the new groups themselves
//!                     the device has them, and the commit below flushes it before its record
//!   reserve.rs     2. one handle: descriptors, the blocks kept for them, the super block
//!   copies.rs      3. the copies of super block and descriptors: what they say is true of the old
//!                     size until then, which is enough to find the rest
//! ```
//!
//! What can fail does so before step 2 changes anything. In memory the groups are there when the
//! handle has ended ([`alloc::grow`](super::alloc)).
//!
//! One task at a time: [`Growing`]. The caller holds off a freeze and a remount, and no lock.

mod add;
mod copies;
mod outside;
mod reserve;

use super::{
    alloc,
    credits,
    grows::Growing,
    primary::read_super,
    Inode,
    Rext4,
    Sb, //
};
use crate::{
    disk::{features, grow::SizeError, GroupDesc},
    vfs::{
        ioctl::{NewGroup, Resize},
        jbd2::Log,
    }, //
};
use kernel::{error::code::*, prelude::*};

/// Makes the file system larger that `inode` is of. `EPERM` if it has errors, `EOPNOTSUPP` where
/// ext4 does not do it either, `EBUSY` if somebody does so already, `EINVAL` if it would become
/// smaller, `ENOSPC` if the device does, `EINTR` if killed, between two steps.
pub(super) fn resize_fs(inode: &Inode, how: Resize) -> Result {
    let sb = inode.sb();
    let fs = sb.data();
    check(sb)?;
    let right = fs.growth.try_take()?;
    let before = fs.geo.blocks_count;
    let grown = match how {
        Resize::To(blocks) => grow_to(inode, &right, blocks),
        Resize::LastGroup(blocks) => finish_last_group(sb, &right, blocks),
        Resize::Group(new) => add_group(sb, &right, &new),
    };
    let blocks = fs.geo.blocks_count;
    if blocks != before {
        pr_info!(
            "{}: resized from {} to {} blocks\n",
            sb.id(),
            before,
            blocks
        );
        return grown.and(make_known(fs));
    }
    grown
}

/// Whether a file system like this is resized at all.
fn check(sb: &Sb) -> Result {
    let fs = sb.data();
    let features = &fs.geo.features;
    if features.has_compat(features::COMPAT_SPARSE_SUPER2) {
        return Err(EOPNOTSUPP);
    }
    if fs.has_errors() || read_super(fs, |raw| raw.error_mark().is_set())? {
        pr_warn!("{}: not resized, it has errors\n", sb.id());
        return Err(EPERM);
    }
    if fs.geo.reserved_gdt_blocks != 0 && !features.has_compat(features::COMPAT_RESIZE_INODE) {
        return Err(sb.corrupted(fmt!("blocks kept for descriptors, but no resize inode")));
    }
    Ok(())
}

/// Empties the log. ext4 takes the size from the super block before it replays the log, and would
/// go on with the old one after a power cut.
fn make_known(fs: &Rext4) -> Result {
    fs.journal()
        .map_or(Ok(()), |j| j.lock_updates()?.flush(Log::Kept))
}

/// The log may have held a step, so that there are more groups than the mount began with. Nobody
/// has used them yet, and they are counted after this. `EUCLEAN` if the super block says something
/// else. On its own for the sake of the stack.
#[inline(never)]
pub(super) fn after_replay(sb: &Sb) -> Result {
    let fs = sb.data();
    let (size, features) = read_super(fs, |raw| (raw.size(), raw.features()))?;
    let new =
        features.unknown_incompat() | features.unknown_ro_compat() & !fs.geo.features.ro_compat;
    if new != 0 {
        // As ext4 does where it needs more blocks of descriptors than are kept.
        pr_err!(
            "{}: the journal gave it features that cannot be mounted\n",
            sb.id()
        );
        return Err(EINVAL);
    }
    if size.blocks == fs.geo.blocks_count {
        return Ok(());
    }
    let grown = fs.geo.grown(size.blocks).ok();
    let grown = grown.filter(|geo| {
        (geo.inodes_count, geo.reserved_gdt_blocks) == (size.inodes, size.reserved_gdt_blocks)
    });
    let known = size.blocks <= sb.device().size() >> fs.geo.block_bits;
    let Some(geo) = grown.filter(|_| known) else {
        return Err(sb.corrupted(fmt!("the journal made it another file system")));
    };
    pr_info!(
        "{}: the journal grew it to {} blocks\n",
        sb.id(),
        size.blocks
    );
    let right = fs.growth.try_take()?;
    add::add_known(sb, &right, geo)?;
    fs.groups.set_root_blocks(&fs.geo, size.root_blocks);
    Ok(())
}

fn refuse_size(sb: &Sb, why: SizeError) -> Error {
    pr_warn!("{}: not resized: {}\n", sb.id(), why.as_str());
    match why {
        SizeError::NoDescriptors => EOPNOTSUPP,
        SizeError::Smaller | SizeError::TooLarge => EINVAL,
    }
}

/// Whether the device has so many blocks, and can read the last of them.
fn check_device(sb: &Sb, blocks: u64) -> Result {
    let device_blocks = sb.device().size() >> sb.data().geo.block_bits;
    let last = blocks.checked_sub(1).filter(|_| blocks <= device_blocks);
    let readable = last.is_some_and(|last| sb.bread(last).is_ok());
    if !readable {
        pr_warn!("{}: not resized: the device is smaller\n", sb.id());
        return Err(ENOSPC);
    }
    Ok(())
}

#[inline(never)]
fn grow_to(inode: &Inode, right: &Growing<'_>, wanted: u64) -> Result {
    let sb = inode.sb();
    let fs = sb.data();
    check_device(sb, wanted)?;
    let target = fs
        .geo
        .growth_target(wanted)
        .map_err(|e| refuse_size(sb, e))?;
    while let Some(step) = fs.geo.next_step(target) {
        inode.go_on()?;
        if step.groups.is_empty() {
            extend(sb, right, step.blocks)?;
        } else {
            add::add_groups(
                sb,
                right,
                (&step, |geo, descs| {
                    geo.place_groups(step.groups.clone(), descs)
                        .map_err(|_| ENOSPC)
                }),
            )?;
        }
    }
    Ok(())
}

/// As far as that goes without a new group.
#[inline(never)]
fn finish_last_group(sb: &Sb, right: &Growing<'_>, wanted: u64) -> Result {
    let geo = &sb.data().geo;
    if wanted == 0 || wanted == geo.blocks_count {
        return Ok(());
    }
    if wanted < geo.blocks_count {
        return Err(refuse_size(sb, SizeError::Smaller));
    }
    let end = geo.group_first_block(geo.groups_count).get();
    if end == geo.blocks_count {
        return Err(EPERM);
    }
    check_device(sb, wanted.min(end))?;
    extend(sb, right, wanted.min(end))
}

/// The last group becomes longer.
#[inline(never)]
fn extend(sb: &Sb, right: &Growing<'_>, blocks: u64) -> Result {
    let fs = sb.data();
    let next = fs.geo.grown(blocks).map_err(|e| refuse_size(sb, e))?;
    let added = blocks - fs.geo.blocks_count;
    let known = next.clone();
    let handle = fs.start(credits::EXTEND_GROUP)?;
    alloc::extend_last_group(&handle, sb, (right, next), |raw| {
        let mut size = raw.size();
        size.grow(&known, added);
        raw.set_size(&size);
    })?;
    handle.stop()?;
    copies::update_copies(sb, None);
    Ok(())
}

/// A group with its metadata where the caller wants it.
#[inline(never)]
fn add_group(sb: &Sb, right: &Growing<'_>, new: &NewGroup) -> Result {
    let fs = sb.data();
    let geo = &fs.geo;
    let no_table = new.group % geo.descs_per_block() == 0;
    if no_table && !geo.features.has_ro_compat(features::RO_COMPAT_SPARSE_SUPER) {
        return Err(EPERM);
    }
    let blocks = geo.blocks_count + u64::from(new.blocks);
    let full = geo.group_first_block(geo.groups_count).get() == geo.blocks_count;
    if new.group != geo.groups_count
        || !full
        || new.blocks > geo.blocks_per_group
        || u32::from(new.root_blocks) > new.blocks / 5
    {
        return Err(EINVAL);
    }
    check_device(sb, blocks)?;
    let step = crate::disk::grow::GrowStep {
        blocks,
        groups: new.group..new.group + 1,
    };
    add::add_groups(
        sb,
        right,
        (&step, |geo, descs| {
            let desc = descs.first_mut().ok_or(EINVAL)?;
            *desc = GroupDesc {
                block_bitmap: new.block_bitmap,
                inode_bitmap: new.inode_bitmap,
                inode_table: new.inode_table,
                ..GroupDesc::default()
            };
            geo.fill_group(new.group, desc).map_err(|_| EINVAL)
        }),
    )
}
