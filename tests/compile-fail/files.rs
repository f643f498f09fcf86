// SPDX-License-Identifier: GPL-2.0
//! The files of a mount's folder see its super block while they are read or written, and no longer:
//! nothing of a mount is behind them.
#![forbid(unsafe_code)]

use crate::vfs::{
    super_block::{FileSystem, SysFile},
    sysfs::{Shown, Written},
    SuperBlock,
};
use kernel::prelude::*;

fn shown<F: FileSystem>(sb: &SuperBlock<F>) -> Result<Shown> {
    Ok(Shown::Number(sb.max_bytes()))
}

fn file<F: FileSystem>() -> SysFile<F> {
    SysFile::new(c"max_bytes", shown::<F>)
}

#[cfg(misuse = "kept")]
fn kept<F: FileSystem>(show: fn(&'static SuperBlock<F>) -> Result<Shown>) -> SysFile<F> {
    SysFile::new(c"kept", show) //~ E0308
}

#[cfg(misuse = "of_one_mount")]
fn of_one_mount<F: FileSystem>(sb: &'static SuperBlock<F>) -> SysFile<F> {
    SysFile::new(c"one", |_| shown(sb)) //~ E0308
}

#[cfg(misuse = "kept_text")]
fn kept_text(slot: &mut Option<&'static [u8]>, text: &Written<'_>) {
    *slot = Some(text.bytes()); //~ lifetime
}
