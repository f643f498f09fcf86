// SPDX-License-Identifier: GPL-2.0

//! The two formats of a map on disk, which an inode has one of. Who uses a map does not know which:
//! it is asked for here and where the map is looked at or changed, below [`super::Extents`].

use super::{nodes, tree::ROOT_BYTES};
use crate::{
    disk::{
        self, block_map,
        inode::{flags, S_IFDIR, S_IFLNK, S_IFMT, S_IFREG},
        Corrupt, Ino, Pblk,
    },
    fs::{alloc, Sb},
};

/// What `i_block` of an inode is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum MapKind {
    /// No map: a device number, or the target of a short symbolic link.
    Nothing,
    /// The root of an extent tree.
    Tree,
    /// Pointers to blocks, and to blocks of pointers: those of ext2 and ext3. Nothing is unwritten
    /// in such a map.
    Pointers,
}

impl MapKind {
    /// Of an inode of this mode and these flags that is no short symbolic link.
    pub(crate) fn of(mode: u16, iflags: u32) -> Self {
        if !matches!(mode & S_IFMT, S_IFREG | S_IFDIR | S_IFLNK) {
            MapKind::Nothing
        } else if iflags & flags::EXTENTS != 0 {
            MapKind::Tree
        } else {
            MapKind::Pointers
        }
    }
}

/// Checks the root of the map of inode `ino` as it comes from disk.
pub(crate) fn check_root(
    sb: &Sb,
    ino: Ino,
    kind: MapKind,
    root: &[u8; ROOT_BYTES],
) -> core::result::Result<(), Corrupt> {
    let geo = &sb.data().geo;
    match kind {
        MapKind::Nothing => Ok(()),
        MapKind::Tree => {
            let h = disk::extent::check_root(root, geo)?;
            nodes::check_targets(sb, ino, root, &h)
        }
        MapKind::Pointers => {
            block_map::check_root(root, geo)?;
            let is_system = |pblk: Pblk| alloc::is_system_block(sb, pblk, 1, Some(ino));
            for i in 0..block_map::ROOT_POINTERS {
                if block_map::pointer_at(root, i)?.is_some_and(is_system) {
                    return Err(Corrupt::MapBlock);
                }
            }
            Ok(())
        }
    }
}

/// Levels of blocks below the root.
pub(super) fn depth(kind: MapKind, root: &[u8; ROOT_BYTES]) -> u32 {
    match kind {
        MapKind::Nothing => 0,
        MapKind::Tree => disk::extent::Header::read(root).map_or(0, |h| h.depth.into()),
        MapKind::Pointers => block_map::height(root),
    }
}

/// Whether no block is mapped.
pub(super) fn maps_nothing(kind: MapKind, root: &[u8; ROOT_BYTES]) -> bool {
    match kind {
        MapKind::Nothing => true,
        MapKind::Tree => disk::extent::Header::read(root).is_ok_and(|h| h.entries == 0),
        MapKind::Pointers => root.iter().all(|byte| *byte == 0),
    }
}

/// The root of a map that is empty.
pub(super) fn empty_root(kind: MapKind) -> [u8; ROOT_BYTES] {
    let mut root = [0; ROOT_BYTES];
    if kind == MapKind::Tree {
        // Fails only if the buffer were too short.
        let _ = disk::extent::init_node(&mut root, 0, disk::extent::ROOT_ENTRIES);
    }
    root
}
