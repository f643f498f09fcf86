// SPDX-License-Identifier: GPL-2.0

//! Journal credits: how many metadata blocks each operation may touch in one handle, and why that
//! many.
//!
//! A handle that touches more than it asked for finds the journal full and aborts it; one that asks
//! for much too many makes commits come early, and on a small journal cannot start at all. So each
//! number is the worst case of what is listed, and all of them stand here. Blocks count once a
//! handle, however often they are changed. Revoke records are counted apart: one for each metadata
//! block that is freed.

use crate::disk::extent::{MAX_DEPTH, ROOT_ENTRIES};

/// Levels of nodes below the root of an extent tree, at most.
const DEPTH: u32 = MAX_DEPTH as u32;

// What operations are made of.

/// The super block.
pub(super) const SUPER: u32 = 1;

/// An inode, written: its block of the table; the super block, for the first large file.
pub(super) const INODE: u32 = 1 + SUPER;

/// An inode on or off the orphan list: the super block; the inode; the block of its predecessor.
pub(super) const ORPHAN: u32 = SUPER + INODE + 1;

/// A run of blocks taken: bitmap and descriptor of its group.
pub(super) const ALLOC: u32 = 2;

/// Runs of blocks freed in up to `groups` groups: bitmap and descriptor of each.
pub(super) const fn freeing(groups: u32) -> u32 {
    2 * groups
}

/// A new inode's number: bitmap and descriptor of inodes; the bitmap of blocks, if the group had
/// none.
pub(super) const INODE_ALLOC: u32 = 3;

/// An inode's number given back: bitmap and descriptor.
pub(super) const INODE_FREE: u32 = 2;

/// An extent inserted or converted: the nodes of one path; at each level a new one, with its bitmap
/// and descriptor; one more where the root moves down.
pub(super) const INSERT: u32 = DEPTH + (1 + ALLOC) * (DEPTH + 1);

// Data.

/// Blocks for data: taken, inserted, the inode.
pub(super) const ALLOCATE: u32 = INSERT + ALLOC + INODE;

/// Data is on disk: one extent converted, the inode with its size.
pub(super) const COMPLETE: u32 = INSERT + INODE;

/// The extents of a leaf moved within the file: the nodes of one path; nodes of which the root gets
/// the entries, should two become one; the inode with its size.
pub(super) const SHIFT: u32 = DEPTH + freeing(DEPTH) + INODE;

/// Blocks exchanged: an extent of each of two files replaced, both inodes.
pub(super) const EXCHANGE: u32 = 2 * (INSERT + INODE);

/// The size set and the inode on the orphan list, or off it.
pub(super) const TRUNCATE: u32 = ORPHAN + INODE;

/// Groups of which data blocks are freed in one step of a removal.
pub(super) const STEP_GROUPS: u32 = 3;

/// Blocks of a directory or symbolic link freed in one step: a revoke record each.
pub(super) const STEP_REVOKES: u32 = 16;

/// A step of a removal: cutting the middle of an extent inserts one; data blocks of some groups; at
/// every level one node may become empty and another one merge into the root.
pub(super) const STEP: u32 = INSERT + freeing(STEP_GROUPS) + freeing(2 * DEPTH);

/// A step that takes, from the end on, all of a tree which is a root only: no node is changed.
pub(super) const ROOT_STEP: u32 = freeing(STEP_GROUPS);

/// Steps for which a handle of a removal asks at once, as far as they are needed: most files have a
/// few extents in the root, and a transaction has room for many that go at the same time.
pub(super) const STEPS: u32 = 3;

/// The same where they are [`ROOT_STEP`]s.
pub(super) const ROOT_STEPS: u32 = ROOT_ENTRIES as u32;

/// Revoke records that a step of a removal may need. That there are as many as credits is not
/// enough: a [`ROOT_STEP`] has few of those, and which step it is hangs on a number of blocks that
/// the disk says.
/// `blocks`: the metadata blocks that it may free, at most [`STEP_REVOKES`].
pub(super) const fn step_revokes(step: u32, blocks: u32) -> u32 {
    let nodes = if step == ROOT_STEP { 0 } else { TREE_REVOKES };
    nodes + blocks
}

/// Revoke records of a handle that is not a removal: any change of an extent tree may free nodes.
pub(super) const TREE_REVOKES: u32 = 2 * DEPTH;

// Attributes.

/// A block of attributes: a new one, taken and written, or one more owner of another.
pub(super) const NEW_ATTRIBUTES: u32 = ALLOC + 1;

/// A block of attributes given up: freed, or an owner less.
pub(super) const OLD_ATTRIBUTES: u32 = freeing(1);

/// An attribute set or removed: another block than before, the inode.
pub(super) const SET_ATTRIBUTE: u32 = NEW_ATTRIBUTES + OLD_ATTRIBUTES + INODE;

/// Attributes moved from the inode to its block, while something else is done with the inode: the
/// block, and what says that there are attributes.
pub(super) const MOVE_ATTRIBUTES: u32 = NEW_ATTRIBUTES + OLD_ATTRIBUTES + SUPER;

/// Revoke records of the same: the block may become another one.
pub(super) const MOVE_REVOKES: u32 = 1;

// Growing.

/// The last group becomes longer: its bitmap and descriptor.
pub(super) const EXTEND_GROUP: u32 = SUPER + ALLOC;

/// Groups are added: a block of descriptors; the resize inode and its block; those of its blocks
/// that get more to list.
pub(super) const fn new_groups(listing: u32) -> u32 {
    SUPER + 1 + 2 + listing
}

/// A copy of the super block and of a block of descriptors.
pub(super) const BACKUP: u32 = SUPER + 1;

// Inodes that end.

/// The inode off the orphan list and free; its block of attributes.
pub(super) const EVICT: u32 = INODE + ORPHAN + INODE_FREE + OLD_ATTRIBUTES;

/// A slot of the orphan file emptied, its inode on the list.
pub(super) const ORPHAN_SLOT: u32 = ORPHAN + 1;

// Names.

/// A block at the end of a directory, or of a symbolic link: taken and inserted.
pub(super) const APPEND: u32 = ALLOC + INSERT;

/// A new directory's or link's only block.
pub(super) const FIRST_BLOCK: u32 = APPEND + 1;

/// A name added: two index nodes, one above the other, and a leaf are split below a root, which
/// takes three blocks; the directory. Should the root move down the node that it becomes has room.
pub(super) const ADD_NAME: u32 = 7 + 3 * APPEND + INODE;

/// A new inode with its attributes, its name not counted. Until it has one it is on the orphan
/// list.
pub(super) const CREATE: u32 = INODE_ALLOC + INODE + ORPHAN + NEW_ATTRIBUTES;

/// A name for an inode that is there, maybe an orphan (`O_TMPFILE`).
pub(super) const LINK: u32 = ADD_NAME + INODE + ORPHAN;

/// A name removed: a leaf, two inodes, the orphan list.
pub(super) const REMOVE_NAME: u32 = 1 + 2 * INODE + ORPHAN;

/// A name added, one or two removed or changed, two first blocks of directories, four inodes, one
/// of them an orphan, and a whiteout.
pub(super) const RENAME: u32 = ADD_NAME + 4 + 4 * INODE + ORPHAN + CREATE;
