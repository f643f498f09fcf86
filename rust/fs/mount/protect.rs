// SPDX-License-Identifier: GPL-2.0

//! The blocks of the journal, before it is opened.

use crate::{
    disk::Lblk,
    fs::{alloc, extent::State, Inode, Sb},
};
use kernel::prelude::*;

/// Notes the journal's blocks, so that no other file gets at them. A hole is jbd2's to find. At
/// mount, before anything of the log is looked at: a map that names blocks again and again ends
/// where it has more than the disk has. `EUCLEAN`, or `EINTR` for a signal.
pub(super) fn protect_journal(sb: &Sb, file: &Inode) -> Result {
    let fs = sb.data();
    let twice = || file.corrupted(fmt!("the journal has a block twice"));
    let (mut all, mut count) = (KVVec::<(u64, u64)>::new(), 0u64);
    let (mut at, end) = (Lblk::FIRST, Lblk::or_end(file.size() >> fs.geo.block_bits));
    while at < end {
        file.go_on()?;
        let found = file.extents().lookup(at.until(end))?;
        at = at.saturating_add(found.len);
        if found.state != State::Written {
            continue;
        }
        count = count.saturating_add(found.len.into());
        if count > fs.geo.blocks_count {
            return Err(twice());
        }
        let first = found.pblk.get();
        let stop = first.saturating_add(found.len.into());
        match all.last_mut() {
            Some(last) if last.1 == first => last.1 = stop,
            _ => all.push((first, stop), GFP_KERNEL)?,
        }
    }
    if alloc::set_journal(sb, all)? {
        Ok(())
    } else {
        Err(twice())
    }
}
