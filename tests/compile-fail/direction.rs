// SPDX-License-Identifier: GPL-2.0
//! A read stores to its memory, a write takes from it.
#![forbid(unsafe_code)]

use crate::vfs::{iomap, namei::Namei, uio::Source, Dest, Io, IovIter, Kiocb};
use kernel::prelude::*;

fn read<'a, F: Namei>(iocb: Kiocb<'a, F>, to: &mut IovIter<'_, Dest>) -> Io<'a, F> {
    iocb.filemap_read(to)
}

#[cfg(misuse = "read_to_source")]
fn read_to_source<'a, F: Namei>(iocb: Kiocb<'a, F>, from: &mut IovIter<'_, Source>) -> Io<'a, F> {
    iocb.filemap_read(from) //~ E0308
}

#[cfg(misuse = "write_from_dest")]
fn write_from_dest<F, T, W>(iocb: &mut Kiocb<'_, F>, to: &mut IovIter<'_, Dest>) -> Result<usize>
where
    F: Namei,
    T: iomap::MapOps<F>,
    W: iomap::WriteOps<F>,
{
    iomap::buffered_write::<F, T, W>(iocb, to) //~ E0308
}
