// SPDX-License-Identifier: GPL-2.0

//! The table of group descriptors, as it is read at mount.
//!
//! The log may hold groups that were added just before a power cut. It is written back block by
//! block, so the super block may have them already and the table not yet:
//!
//! ```text
//!   the log               the disk
//!   super: 17 groups      super: 17 groups       written back
//!   descriptor 16         anything               power cut before this
//! ```
//!
//! But the log is in the file system, which must be known to read it. So where there is a log to
//! replay, what has no descriptor is left out, and looked for again after that
//! ([`fs::resize`](crate::fs)).

use super::{decode, grow::table_index, zones::Zones};
use crate::{
    disk::{features::INCOMPAT_RECOVER, Corrupt, Geometry, GroupDesc},
    fs::{grows::Grows, options::Options, Rext4},
    vfs::{bh::BufferHead, super_block::NewSuper},
};
use kernel::{error::code::*, prelude::*};

/// What the table says.
pub(super) struct DescTable {
    pub(super) blocks: Grows<BufferHead>,
    pub(super) descs: KVVec<GroupDesc>,
    pub(super) zones: Zones,
}

impl DescTable {
    /// Reads and checks it. Leaves groups at the end out of `geo` if the log may have them.
    /// `EUCLEAN` (logged).
    pub(super) fn read(
        sb: &NewSuper<'_, Rext4>,
        geo: &mut Geometry,
        options: &Options,
    ) -> Result<Self> {
        let dirty = geo.features.has_incompat(INCOMPAT_RECOVER);
        let replays = dirty && geo.journal_inum.is_some() && !options.noload;
        let blocks = read_blocks(sb, geo)?;
        let mut descs = KVVec::with_capacity(geo.groups_count as usize, GFP_KERNEL)?;
        for group in 0..geo.groups_count {
            match read_desc(&blocks, geo, group)? {
                Ok(desc) => descs.push(desc, GFP_KERNEL)?,
                Err(what) if replays && group > 0 => {
                    leave_out(sb, (geo, &mut descs), group, what);
                    break;
                }
                Err(what) => {
                    pr_err!("group {}: {}\n", group, what.as_str());
                    return Err(EUCLEAN);
                }
            }
        }
        let mut zones = Zones::new(geo, &descs)?;
        if let Err(what) = zones {
            // Where descriptors have no checksum anything may look like one. What is not yet a
            // block of the table lists blocks of copies.
            let whole = (geo.gdt_blocks - 1) * geo.descs_per_block();
            if replays && whole > 0 {
                leave_out(sb, (geo, &mut descs), whole, what);
                zones = Zones::new(geo, &descs)?;
            }
        }
        let zones = zones.map_err(|_| {
            pr_err!("metadata of two groups in one place\n");
            EUCLEAN
        })?;
        let used = geo.gdt_blocks as usize;
        let blocks = Grows::with(blocks.into_iter().take(used))?;
        Ok(Self {
            blocks,
            descs,
            zones,
        })
    }
}

/// The groups from this one on are not there for now.
fn leave_out(
    sb: &NewSuper<'_, Rext4>,
    (geo, descs): (&mut Geometry, &mut KVVec<GroupDesc>),
    group: u32,
    what: Corrupt,
) {
    let what = what.as_str();
    pr_info!(
        "{}: group {group}: {what}: looked at again after the replay\n",
        sb.id()
    );
    descs.truncate(group as usize);
    *geo = geo.shortened(group);
}

fn read_desc(
    blocks: &[BufferHead],
    geo: &Geometry,
    group: u32,
) -> Result<Result<GroupDesc, Corrupt>> {
    let (_, off) = geo.desc_location(group);
    let bh = blocks.get(table_index(geo, group)).ok_or(EINVAL)?;
    decode(geo, bh, off as usize, group)
}

/// The blocks of the primary table.
fn read_blocks(sb: &NewSuper<'_, Rext4>, geo: &Geometry) -> Result<KVVec<BufferHead>> {
    let mut blocks = KVVec::with_capacity(geo.gdt_blocks as usize, GFP_KERNEL)?;
    let first = u64::from(geo.super_block) + 1;
    let table = first..first + u64::from(geo.gdt_blocks);
    table.clone().for_each(|block| sb.breadahead(block));
    for block in table {
        blocks.push(sb.bread(block)?, GFP_KERNEL)?;
    }
    Ok(blocks)
}
