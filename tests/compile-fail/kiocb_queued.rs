// SPDX-License-Identifier: GPL-2.0
//! Once a request is queued it belongs to its completion, which may have freed it.
#![forbid(unsafe_code)]

use crate::vfs::{dio, iomap::MapOps, kiocb::Queued, super_block::FileSystem};
use crate::vfs::{Io, IovIterDest, Kiocb};

fn read<'a, T: MapOps>(iocb: Kiocb<'a, T::Fs>, to: &mut IovIterDest<'_>) -> Io<'a, T::Fs> {
    let (iocb, result) = dio::read::<T>(iocb, to)?;
    let _pos = iocb.pos();
    iocb.done(result)
}

#[cfg(misuse = "use_after")]
fn use_after<'a, T: MapOps>(
    iocb: Kiocb<'a, T::Fs>,
    to: &mut IovIterDest<'_>,
) -> Io<'a, T::Fs> {
    let io = dio::read::<T>(iocb, to);
    let _pos = iocb.pos(); //~ E0382
    io
}

#[cfg(misuse = "use_after_guarded")]
fn use_after_guarded<'a, D: dio::DioOps, G: dio::Guard<Fs = D::Fs>>(
    iocb: Kiocb<'a, D::Fs>,
    source: dio::DioSource<'_, '_>,
) -> Io<'a, D::Fs> {
    let io = dio::write_guarded::<D, G>(iocb, source, dio::DioFlags::default());
    iocb.done(Ok(0)) //~ E0382
}

#[cfg(misuse = "buffered")]
fn buffered<'a, F: FileSystem>(iocb: Kiocb<'a, F>, to: &mut IovIterDest<'_>) -> Io<'a, F> {
    let io = iocb.filemap_read(to);
    let _pos = iocb.pos(); //~ E0382
    io
}

#[cfg(misuse = "queued_by_nobody")]
fn queued_by_nobody<'a, F: FileSystem>(_iocb: Kiocb<'a, F>) -> Io<'a, F> {
    Err(Queued(core::marker::PhantomData)) //~ E0423
}

/// Over and queued at once would complete it twice.
#[cfg(misuse = "over_and_queued")]
fn over_and_queued<'a, T: MapOps>(
    iocb: Kiocb<'a, T::Fs>,
    to: &mut IovIterDest<'_>,
) -> Io<'a, T::Fs> {
    match dio::read::<T>(iocb, to) {
        Ok(over) => Ok(over),
        Err(Queued { .. }) => Ok(0), //~ E0308
    }
}

/// What says that another one is queued would leave this one without anybody.
#[cfg(misuse = "another_queued")]
fn another_queued<'a, 'b, T: MapOps>(
    one: Kiocb<'a, T::Fs>,
    other: Kiocb<'b, T::Fs>,
    to: &mut IovIterDest<'_>,
) -> Io<'a, T::Fs> {
    match dio::read::<T>(other, to) {
        Ok(_) => one.done(Ok(0)),
        Err(queued) => Err(queued), //~ lifetime
    }
}
