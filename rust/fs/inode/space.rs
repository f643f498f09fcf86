// SPDX-License-Identifier: GPL-2.0

//! The bytes of the raw inode that its attributes have: behind its fields, whose number may grow.

use super::{hold_iloc, Inode, InodeInfo};
use crate::disk::{xattr, Pblk};
use kernel::{
    prelude::*,
    sync::atomic::ordering, //
};

/// Where attributes of an inode are.
pub(in crate::fs) struct Space {
    /// Bytes in the inode for them.
    pub(in crate::fs) room: usize,
    /// These bytes, if there are attributes in them.
    pub(in crate::fs) used: Option<KVec<u8>>,
    /// The block with more of them.
    pub(in crate::fs) block: Option<Pblk>,
}

/// Reads that of an inode whose attributes are locked.
pub(in crate::fs) fn read_space(inode: &Inode) -> Result<Space> {
    let geo = &inode.fs().geo;
    let place = hold_iloc(inode)?;
    let fields = inode.info().fields.lock();
    let mut space = Space {
        room: 0,
        used: None,
        block: fields.file_acl,
    };
    let Some(range) = xattr::inode_space(geo, fields.extra_isize) else {
        return Ok(space);
    };
    space.room = range.len();
    let mut start = [0u8; xattr::MAGIC_SIZE];
    let from = place.offset() + range.start;
    place.buffer().copy_out(from, &mut start)?;
    if xattr::is_in_use(&start) {
        let mut bytes = KVec::from_elem(0u8, range.len(), GFP_KERNEL)?;
        place.buffer().copy_out(from, &mut bytes)?;
        space.used = Some(bytes);
    }
    Ok(space)
}

/// While this lives the fields of an inode do not grow over its attributes, which somebody has
/// copied out and will copy in (ext4: `EXT4_STATE_NO_EXPAND`). The attributes are locked.
pub(in crate::fs) struct KeptLayout<'a>(&'a InodeInfo);

impl<'a> KeptLayout<'a> {
    pub(in crate::fs) fn new(info: &'a InodeInfo) -> Self {
        // Who is making them grow just now holds the lock.
        let _fields = info.fields.lock();
        info.layout_kept.store(true, ordering::Relaxed);
        Self(info)
    }
}

impl Drop for KeptLayout<'_> {
    fn drop(&mut self) {
        self.0.layout_kept.store(false, ordering::Relaxed);
    }
}
