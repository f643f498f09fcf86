// SPDX-License-Identifier: GPL-2.0

//! rext4: the ext4 on-disk format over iomap and jbd2.

#![allow(dead_code, reason = "disk/ and vfs/ describe more than is used yet")]

mod disk;
mod fs;
mod vfs;

pub(crate) use vfs::crc::crc32c;

use fs::Rext4;
use kernel::prelude::*;
use vfs::{inode::InodeCache, super_block::Registration};

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

/// The registered names. Dropped at `rmmod`, when no super block is left.
struct Module {
    _ext4: Option<Pin<KBox<Registration<Rext4>>>>,
    _rext4: Pin<KBox<Registration<Rext4>>>,
}

impl kernel::Module for Module {
    fn init(module: &'static ThisModule) -> Result<Self> {
        let cache = InodeCache::new(c"rext4_inode")?;
        let rext4 = KBox::pin_init(
            Registration::new(c"rext4", module, cache.clone()),
            GFP_KERNEL,
        )?;
        let ext4 = match module_parameters::register_ext4.value() {
            0 => None,
            _ => {
                let second = Registration::new(c"ext4", module, cache);
                Some(KBox::pin_init(second, GFP_KERNEL).inspect_err(|_| {
                    pr_err!("the name ext4 is taken: unload ext4 first, or do not ask for it\n");
                })?)
            }
        };
        Ok(Self {
            _ext4: ext4,
            _rext4: rext4,
        })
    }
}
