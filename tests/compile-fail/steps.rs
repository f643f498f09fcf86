// SPDX-License-Identifier: GPL-2.0
//! Blocks go in four steps, in this order, under the locks of one inode.
#![forbid(unsafe_code)]

use crate::fs::{
    io::steps::{Alone, Shut},
    Inode, Rext4,
};
use crate::vfs::{inode::InodeLock, pagemap::TruncateLocks};
use kernel::prelude::*;

fn punch<'l>(lock: &'l InodeLock<'_, Rext4>) -> Result<Alone<'l>> {
    Shut::new(lock).drain()?.unpin(0..4096)?.drop_cache()?.remove_blocks()
}

#[cfg(misuse = "not_drained")]
fn not_drained(lock: &InodeLock<'_, Rext4>) -> Result {
    let gone = Shut::new(lock).unpin(0..4096)?.drop_cache()?; //~ E0599
    gone.remove_blocks().map(drop)
}

#[cfg(misuse = "blocks_first")]
fn blocks_first(lock: &InodeLock<'_, Rext4>) -> Result {
    Alone::new(lock)?.remove_blocks().map(drop) //~ E0599
}

#[cfg(misuse = "unlocked_between")]
fn unlocked_between(lock: &InodeLock<'_, Rext4>) -> Result {
    let alone = Alone::new(lock)?;
    let gone = alone.unpin(0..4096)?.drop_cache()?;
    drop(alone); //~ E0382
    gone.remove_blocks().map(drop)
}

#[cfg(misuse = "twice")]
fn twice(lock: &InodeLock<'_, Rext4>) -> Result {
    let gone = Alone::new(lock)?.unpin(0..4096)?.drop_cache()?;
    let _ = gone.remove_blocks()?;
    gone.remove_blocks().map(drop) //~ E0382
}

#[cfg(misuse = "other_lock")]
fn other_lock(one: &Inode, other: &InodeLock<'_, Rext4>) -> Result {
    let pages = one.invalidate_lock();
    let _both = TruncateLocks { lock: other, pages }; //~ E0451
    Ok(())
}

#[cfg(misuse = "i_rwsem_gone")]
fn i_rwsem_gone(inode: &Inode) -> Result {
    let lock = inode.lock();
    let gone = Alone::new(&lock)?.unpin(0..4096)?.drop_cache()?;
    drop(lock); //~ E0505
    gone.remove_blocks().map(drop)
}
