// SPDX-License-Identifier: GPL-2.0

//! The generation of an inode, which programs call its version (lsattr -v, chattr -v).

use super::{argument, IoctlOps, WantWrite};
use crate::vfs::{file::File, super_block::FileSystem};
use kernel::{
    error::code::*,
    prelude::*,
    uaccess::{UserPtr, UserSlice}, //
};

/// `FS_IOC_GETVERSION` and `EXT4_IOC_GETVERSION`: an int, in spite of their numbers.
pub(super) fn get_generation<F: FileSystem>(file: &File<F>, to: UserPtr) -> Result {
    UserSlice::new(to, size_of::<u32>())
        .writer()
        .write_slice(&file.inode().generation().to_ne_bytes())
}

/// `FS_IOC_SETVERSION` and `EXT4_IOC_SETVERSION`.
pub(super) fn set_generation<F: IoctlOps>(file: &File<F>, from: UserPtr) -> Result {
    if !file.is_owned() {
        return Err(EPERM);
    }
    let inode = file.inode();
    F::check_new_generation(inode)?;
    let _write = WantWrite::new(file)?;
    let generation: u32 = argument(from)?;
    F::set_generation(&inode.lock(), generation)
}
