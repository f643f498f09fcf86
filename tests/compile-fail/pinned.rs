// SPDX-License-Identifier: GPL-2.0
//! Pins are of user memory: of other memory C takes none, and letting go of them would free pages
//! in use. While they are there nobody moves the source that they go back to.
#![forbid(unsafe_code)]

use crate::vfs::{
    dio::{self, DioFlags, DioOps, Guard, Pinned, DioSource},
    super_block::FileSystem,
    uio::UserSource,
    Io, IovIterSource, Kiocb,
};
use kernel::prelude::*;

fn write<'a, D: DioOps, G: Guard<Fs = D::Fs>>(
    iocb: Kiocb<'a, D::Fs>,
    from: &mut IovIterSource<'_>,
) -> Io<'a, D::Fs> {
    let source = match UserSource::new(from) {
        Some(user) => match Pinned::new(&iocb, user, 4096, 1) {
            Ok(pinned) => DioSource::Pinned(pinned),
            Err(e) => return iocb.done(Err(e)),
        },
        None => DioSource::Other(from),
    };
    dio::write_guarded::<D, G>(iocb, source, DioFlags::default())
}

fn look_first<F: FileSystem>(iocb: &Kiocb<'_, F>, from: &mut IovIterSource<'_>) -> Result {
    if let Some(user) = UserSource::new(from) {
        Pinned::new(iocb, user, 4096, 1)?.put_back();
    }
    from.advance(1);
    Ok(())
}

#[cfg(misuse = "other_memory")]
fn other_memory<F: FileSystem>(iocb: &Kiocb<'_, F>, from: &mut IovIterSource<'_>) -> Result {
    Pinned::new(iocb, from, 4096, 1)?.put_back(); //~ E0308
    Ok(())
}

#[cfg(misuse = "not_asked")]
fn not_asked<F: FileSystem>(iocb: &Kiocb<'_, F>, from: &mut IovIterSource<'_>) -> Result {
    Pinned::new(iocb, UserSource(from), 4096, 1)?.put_back(); //~ E0423
    Ok(())
}

#[cfg(misuse = "moved_meanwhile")]
fn moved_meanwhile<F: FileSystem>(iocb: &Kiocb<'_, F>, from: &mut IovIterSource<'_>) -> Result {
    let user = UserSource::new(from).ok_or(EINVAL)?;
    let pinned = Pinned::new(iocb, user, 4096, 1)?;
    from.advance(1); //~ E0499
    pinned.put_back();
    Ok(())
}

#[cfg(misuse = "back_twice")]
fn back_twice(pinned: Pinned<'_, '_>) {
    pinned.put_back();
    pinned.put_back(); //~ E0382
}

#[cfg(misuse = "back_and_written")]
fn back_and_written<'a, D: DioOps, G: Guard<Fs = D::Fs>>(
    iocb: Kiocb<'a, D::Fs>,
    pinned: Pinned<'_, '_>,
) -> Io<'a, D::Fs> {
    pinned.put_back();
    let source = DioSource::Pinned(pinned); //~ E0382
    dio::write_guarded::<D, G>(iocb, source, DioFlags::default())
}
