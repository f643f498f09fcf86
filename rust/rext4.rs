// SPDX-License-Identifier: GPL-2.0

//! rext4: the ext4 on-disk format over iomap and jbd2.

#![allow(dead_code)]

mod disk;
mod vfs;

pub(crate) use vfs::crc::crc32c;

use kernel::prelude::*;

module! {
    type: Rext4Module,
    name: "rext4",
    authors: ["The rext4 authors"],
    description: "ext4 on-disk format over iomap and jbd2",
    license: "GPL",
}

struct Rext4Module;

impl kernel::Module for Rext4Module {
    fn init(_module: &'static ThisModule) -> Result<Self> {
        Ok(Self)
    }
}
