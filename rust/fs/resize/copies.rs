// SPDX-License-Identifier: GPL-2.0

//! The copies of super block and descriptors in other groups.

use crate::{
    disk::superblock::SizeFields,
    fs::{
        credits,
        primary::{journal_backup, read_super},
        Sb, //
    },
    vfs::bh::BufferHead,
};
use kernel::prelude::*;

/// Brings them up to date: the size of the file system, and a block of the table of descriptors.
/// Each group in a transaction of its own. What cannot be written is said, and left: the file
/// system is as large as the first super block says.
pub(super) fn update_copies(sb: &Sb, table: Option<&BufferHead>) {
    let fs = sb.data();
    let Ok(size) = read_super(fs, |raw| raw.size()) else {
        return;
    };
    for group in fs.geo.backups() {
        if let Err(e) = update_group(sb, group, (&size, table)) {
            let errno = e.to_errno();
            pr_warn!(
                "{}: group {group}: its copy of the super block is not up to date: error {errno}\n",
                sb.id()
            );
        }
    }
}

fn update_group(sb: &Sb, group: u32, (size, table): (&SizeFields, Option<&BufferHead>)) -> Result {
    let fs = sb.data();
    let first = fs.geo.group_first_block(group).get();
    let bh = sb.bread(first)?;
    let copy = match table {
        Some(table) => {
            let index = table.blocknr() - u64::from(fs.geo.super_block);
            Some((sb.bread(first + index)?, table.to_vec()?))
        }
        None => None,
    };
    let handle = fs.start(credits::BACKUP)?;
    if !journal_backup(&handle, fs, &bh, |raw| raw.set_size(size))? {
        return Err(EUCLEAN);
    }
    if let Some((copy, bytes)) = copy {
        let mut block = handle.write(&copy)?;
        block.copy_in(0, &bytes)?;
        block.finish()?;
    }
    handle.stop()
}
