// SPDX-License-Identifier: GPL-2.0

//! What `ioctl(2)` asks for, forwarded.

use crate::{
    fs::{about, alloc, chattr, crypt, io, mount, resize, Inode, Rext4, Sb},
    vfs::{
        fsmap::SpaceMap,
        inode::InodeLock,
        ioctl::{IoctlOps, Label, MoveExtents, Resize, Salt, Shutdown, Trim, Uuid},
        jbd2::Log,
        File, //
    },
};
use core::ops::RangeInclusive;
use kernel::prelude::*;

#[vtable]
impl IoctlOps for Rext4 {
    fn label(sb: &Sb) -> Result<Label> {
        about::label(sb)
    }

    fn set_label(file: &File<Self>, label: &Label) -> Result {
        about::set_label(file, label)
    }

    fn uuid(sb: &Sb) -> Result<Uuid> {
        about::uuid(sb)
    }

    fn check_new_uuid(sb: &Sb) -> Result {
        about::check_new_uuid(sb)
    }

    fn set_uuid(file: &File<Self>, uuid: &Uuid) -> Result {
        about::set_uuid(file, uuid)
    }

    fn map_space(file: &File<Self>, blocks: RangeInclusive<u64>, map: &mut SpaceMap) -> Result {
        alloc::map_space(file.inode(), blocks, map)
    }

    fn trim(file: &File<Self>, what: Trim) -> Result<u64> {
        alloc::trim(file.inode(), what)
    }

    fn can_empty_log(sb: &Sb) -> Result {
        mount::can_empty_log(sb)
    }

    fn empty_log(file: &File<Self>, blocks: Log) -> Result {
        mount::empty_live_log(file.inode().sb(), blocks)
    }

    fn move_extents(orig: &Inode, donor: &Inode, what: MoveExtents) -> (u64, Result) {
        io::exchange::move_extents(orig, donor, what)
    }

    fn resize(file: &File<Self>, how: Resize) -> Result {
        resize::resize_fs(file.inode(), how)
    }

    fn key_salt(sb: &Sb) -> Result<Salt> {
        crypt::key_salt(sb)
    }

    fn make_key_salt(file: &File<Self>, new: &Salt) -> Result<Salt> {
        crypt::make_key_salt(file, new)
    }

    fn check_new_generation(inode: &Inode) -> Result {
        chattr::check_new_generation(inode)
    }

    fn set_generation(lock: &InodeLock<'_, Self>, generation: u32) -> Result {
        chattr::set_generation(lock, generation)
    }

    fn shut_down(sb: &Sb, how: Shutdown) -> Result {
        mount::shut_down(sb, how)
    }
}
