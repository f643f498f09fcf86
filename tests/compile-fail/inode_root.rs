// SPDX-License-Identifier: GPL-2.0
//! The data of a mount goes after the look for inodes in use, so it cannot have any.
#![forbid(unsafe_code)]

use crate::vfs::{inode::Iget, super_block::FileSystem, InodeRef, SuperBlock};
use core::marker::PhantomData;

struct Mount<F: FileSystem> {
    #[cfg(misuse = "field")]
    root: InodeRef<F>, //~ E0106
    _fs: PhantomData<F>,
}

fn lent<F: FileSystem>(sb: &SuperBlock<F>) -> Option<InodeRef<'_, F>> {
    match sb.iget(2) {
        Ok(Iget::Ready(root)) => Some(root),
        _ => None,
    }
}

#[cfg(misuse = "for_ever")]
fn for_ever<F: FileSystem>(sb: &SuperBlock<F>) -> Option<InodeRef<'static, F>> {
    lent(sb) //~ lifetime
}
