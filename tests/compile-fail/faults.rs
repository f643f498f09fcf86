// SPDX-License-Identifier: GPL-2.0
//! The answer to a fault may say that its folio is locked: it is for that fault, and comes last.
#![forbid(unsafe_code)]

use crate::vfs::{
    iomap::MapOps,
    mmap::{Fault, VmFault},
    super_block::FileSystem,
};

fn page_mkwrite<'a, T: MapOps>(fault: &Fault<'a, T::Fs>) -> VmFault<'a> {
    if let Err(e) = fault.update_time() {
        return e.into();
    }
    fault.invalidate_lock_shared().page_mkwrite::<T>()
}

/// Two callers would unlock what is locked once.
#[cfg(misuse = "of_another")]
fn of_another<'a, 'b, T: MapOps>(
    _this: &Fault<'a, T::Fs>,
    another: &Fault<'b, T::Fs>,
) -> VmFault<'a> {
    page_mkwrite::<T>(another) //~ lifetime
}

#[cfg(misuse = "twice")]
fn twice<'a, T: MapOps>(fault: &Fault<'a, T::Fs>) -> VmFault<'a> {
    let locked = fault.invalidate_lock_shared();
    let _first = locked.page_mkwrite::<T>();
    locked.page_mkwrite::<T>() //~ E0382
}

#[cfg(misuse = "made_up")]
fn made_up<'a, F: FileSystem>(_fault: &Fault<'a, F>) -> VmFault<'a> {
    VmFault(0x200) //~ E0423
}
