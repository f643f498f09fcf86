// SPDX-License-Identifier: GPL-2.0
//! A file system's name stays while something is mounted: the module owns it, nobody else can.
#![forbid(unsafe_code)]

use crate::vfs::super_block::{Describe, FsModule};

fn of_the_module<M: Describe>(module: FsModule<M>) {
    drop(module);
}

#[cfg(misuse = "boxed")]
fn boxed<F: crate::vfs::super_block::FileSystem>(
    _name: KBox<crate::vfs::super_block::register::Registration<F>>, //~ E0603
) {
}

#[cfg(misuse = "boxed")]
use kernel::prelude::*;
