// SPDX-License-Identifier: GPL-2.0

//! rext4: the ext4 on-disk format over iomap and jbd2.

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
#[pin_data]
struct Module {
    #[pin]
    ext4: Registration<Rext4>,
    #[pin]
    rext4: Registration<Rext4>,
    #[cfg(REXT4_LAB)]
    lab: fs::lab::Lab,
}

impl kernel::InPlaceModule for Module {
    fn init(module: &'static ThisModule) -> impl PinInit<Self, Error> {
        let also_ext4 = *module_parameters::register_ext4.value_ref() != 0;
        let cache = InodeCache::new(c"rext4_inode");
        pin_init::pin_init_scope(move || {
            let cache = cache?;
            Ok(try_pin_init!(Self {
                ext4 <- Registration::new(c"ext4", module, cache.clone(), also_ext4),
                rext4 <- Registration::new(c"rext4", module, cache, true),
                #[cfg(REXT4_LAB)]
                lab: fs::lab::Lab::new(module)?,
            }? Error))
        })
    }
}
