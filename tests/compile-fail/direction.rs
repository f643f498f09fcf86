// SPDX-License-Identifier: GPL-2.0
//! A read stores to its memory, a write takes from it.
#![forbid(unsafe_code)]

use crate::vfs::{iomap, super_block::FileSystem, Io, IovIterDest, IovIterSource, Kiocb};
use kernel::prelude::*;

fn read<'a, F: FileSystem>(iocb: Kiocb<'a, F>, to: &mut IovIterDest<'_>) -> Io<'a, F> {
    iocb.filemap_read(to)
}

#[cfg(misuse = "read_to_source")]
fn read_to_source<'a, F: FileSystem>(
    iocb: Kiocb<'a, F>,
    from: &mut IovIterSource<'_>,
) -> Io<'a, F> {
    iocb.filemap_read(from) //~ E0308
}

#[cfg(misuse = "write_from_dest")]
fn write_from_dest<W: iomap::WriteOps>(
    iocb: &mut Kiocb<'_, W::Fs>,
    to: &mut IovIterDest<'_>,
) -> Result<usize> {
    let lock = iocb.lock()?;
    iomap::buffered_write::<W>(iocb, to, &lock) //~ E0308
}
