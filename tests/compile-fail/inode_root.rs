// SPDX-License-Identifier: GPL-2.0
//! The data of a mount goes after the look for inodes in use, so it cannot have any.
#![forbid(unsafe_code)]

use crate::vfs::{inode::Iget, namei::Namei, InodeRef, SuperBlock};
use core::marker::PhantomData;

struct Mount<F: Namei> {
    #[cfg(misuse = "field")]
    root: InodeRef<F>, //~ E0106
    _fs: PhantomData<F>,
}

fn lent<F: Namei>(sb: &SuperBlock<F>) -> Option<InodeRef<'_, F>> {
    match sb.iget(2) {
        Ok(Iget::Ready(root)) => Some(root),
        _ => None,
    }
}

#[cfg(misuse = "for_ever")]
fn for_ever<F: Namei>(sb: &SuperBlock<F>) -> Option<InodeRef<'static, F>> {
    lent(sb) //~ lifetime
}
