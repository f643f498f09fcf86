// SPDX-License-Identifier: GPL-2.0

//! rext4: the ext4 on-disk format over iomap and jbd2.

mod disk;
mod fs;
#[allow(dead_code, reason = "events and their values, used or not")]
mod trace;
mod vfs;

pub(crate) use vfs::crc::crc32c;

use fs::Rext4;
use kernel::prelude::*;
use vfs::super_block::{Describe, FsModule};

module! {
    type: Module,
    name: "rext4",
    authors: ["The rext4 authors"],
    description: "ext4 on-disk format over iomap and jbd2",
    license: "GPL",
    alias: ["fs-rext4"],
    params: {
        register_ext4: u8 {
            default: 0,
            description: "1: also answer to the name ext4, if the kernel's ext4 is not loaded",
        },
    },
}

/// What the module has beside its names.
struct Rext4Module {
    #[cfg(REXT4_LAB)]
    _lab: fs::lab::Lab,
    #[cfg(REXT4_COVERAGE)]
    _coverage: vfs::coverage::Coverage,
}

/// The module: dropped at `rmmod`, when no super block is left.
type Module = FsModule<Rext4Module>;

impl Describe for Rext4Module {
    type Fs = Rext4;
    const NAME: &'static CStr = c"rext4";
    const INODES: &'static CStr = c"rext4_inode";

    #[cfg_attr(not(REXT4_LAB), allow(unused_variables))]
    fn init(module: &'static ThisModule) -> Result<(Self, Option<&'static CStr>)> {
        let this = Self {
            #[cfg(REXT4_LAB)]
            _lab: fs::lab::Lab::new(module)?,
            #[cfg(REXT4_COVERAGE)]
            _coverage: vfs::coverage::Coverage::of_module(),
        };
        let also_ext4 = *module_parameters::register_ext4.value_ref() != 0;
        Ok((this, also_ext4.then_some(c"ext4")))
    }
}
