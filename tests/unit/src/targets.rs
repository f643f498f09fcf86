// SPDX-License-Identifier: GPL-2.0

//! One fuzz target for every parser, shared by the fuzzer and the smoke test.
//!
//! The first byte of the input chooses a geometry, the rest is the structure. Checksums are made
//! right first where there are any, as no fuzzer guesses them: what is looked for lies behind. A
//! target returns whether the structure was accepted, and panics when accepted data then misbehave.

use crate::attributes;
use crate::disk::group::{self, BitmapKind};
use crate::disk::hash::{HashVersion, Hasher};
use crate::disk::htree::{self, HashedEntry, MAX_LEAF_ENTRIES};
use crate::disk::*;
use crate::short::{at, dx, entry, expected};
use crate::{decode_whole, encode_whole};
use zerocopy::FromBytes;

/// A target: takes an input, tells whether it was accepted.
pub type Target = fn(&[u8]) -> bool;

/// How many targets there are.
pub const COUNT: usize = 11;

/// All targets by name.
pub const TARGETS: [(&str, Target); COUNT] = [
    ("superblock", superblock),
    ("group_desc", group_desc),
    ("inode", inode),
    ("extent_root", extent_root),
    ("extent_block", extent_block),
    ("dir_block", dir_block),
    ("dx_root", dx_root),
    ("dx_node", dx_node),
    ("dx_leaf", dx_leaf),
    ("orphan_block", orphan_block),
    ("xattr_block", xattr_block),
];

/// The super block of four groups of 8192 blocks, of 1 KiB shifted by `log`, without a checksum.
pub fn small_super(log: u32) -> RawSuper {
    let mut raw = RawSuper::read_from_bytes(&[0; superblock::SUPER_SIZE]).expect("size");
    raw.magic.set(superblock::MAGIC);
    raw.rev_level.set(1);
    raw.log_block_size.set(log);
    raw.log_cluster_size.set(log);
    raw.first_data_block.set(u32::from(log == 0));
    raw.blocks_per_group.set(8192);
    raw.clusters_per_group.set(8192);
    raw.blocks_count_lo.set(8192 * 4);
    raw.inodes_per_group.set(2048);
    raw.inodes_count.set(2048 * 4);
    raw.inode_size.set(256);
    raw.first_ino.set(11);
    raw
}

/// 1, 2 and 4 KiB blocks, with and without checksums, with small and large descriptors.
fn geometry(choice: u8) -> Geometry {
    let mut raw = small_super(u32::from(choice & 3).min(2));
    raw.desc_size.set(64);
    raw.checksum_type = 1;
    raw.def_hash_version = 1;
    raw.feature_compat.set(features::COMPAT_DIR_INDEX);
    raw.feature_incompat
        .set(features::INCOMPAT_FILETYPE | features::INCOMPAT_EXTENTS | features::INCOMPAT_FLEX_BG);
    raw.feature_ro_compat.set(features::RO_COMPAT_HUGE_FILE);
    raw.set_ro_compat(features::RO_COMPAT_METADATA_CSUM, choice & 4 == 0);
    raw.set_incompat(features::INCOMPAT_64BIT, choice & 8 == 0);
    raw.update_checksum();
    Geometry::parse(&raw, 1 << 40).expect("a valid geometry")
}

/// The geometry and the rest of the input, padded to `size` bytes (a block when 0).
fn split(data: &[u8], size: usize) -> (Geometry, Vec<u8>) {
    let (choice, rest) = data.split_first().unwrap_or((&0, &[]));
    let geo = geometry(*choice);
    let size = if size == 0 {
        geo.block_size as usize
    } else {
        size
    };
    let mut buf = rest.to_vec();
    buf.resize(size, 0);
    (geo, buf)
}

/// A buffer that is too short must be an error, never a panic.
fn short(data: &[u8]) -> &[u8] {
    data.get(1..).unwrap_or(&[])
}

pub fn superblock(data: &[u8]) -> bool {
    let (_, buf) = split(data, superblock::SUPER_SIZE);
    let mut raw = RawSuper::read_from_bytes(&buf).expect("size");
    let mut device = 16 << 20;
    if raw.blocks_count() < 1 << 40 {
        // A device that is large enough, so that the checks behind this one are reached.
        device = device.max((raw.blocks_count() + 1) << 12);
    }
    raw.update_checksum();
    let geo = match Geometry::parse(&raw, device) {
        Ok(geo) => geo,
        Err(e) => {
            assert!(!e.to_string().is_empty());
            return false;
        }
    };
    assert!(geo.blocks_count << geo.block_bits <= device);
    assert!(geo.desc_size >= 32 && u32::from(geo.inode_size) <= geo.block_size);
    let mut total = u64::from(geo.first_data_block);
    let groups = geo.groups_count;
    if groups < 1 << 16 {
        total += (0..groups)
            .map(|g| u64::from(geo.group_blocks(g)))
            .sum::<u64>();
        assert_eq!(total, geo.blocks_count);
    }
    for g in [0, 1, 2, groups / 2, groups - 1, groups, u32::MAX] {
        let (block, off) = geo.desc_location(g);
        assert!(off + u32::from(geo.desc_size) <= geo.block_size);
        if g < groups {
            assert!(block <= u64::from(geo.super_block) + u64::from(geo.gdt_blocks));
            assert!(geo.group_first_block(g).get() < geo.blocks_count);
            let first = geo.group_first_block(g);
            assert_eq!(geo.block_group(first), Some((g, 0)));
        }
        geo.group_has_super(g);
    }
    for ino in [
        0,
        1,
        geo.inodes_count,
        geo.inodes_count.wrapping_add(1),
        u32::MAX,
    ] {
        if let Some((g, index)) = geo.inode_group(Ino::new(ino)) {
            let (block, off) = geo.inode_offset(index);
            assert!(g < groups && block < geo.itable_blocks);
            assert!(off + u32::from(geo.inode_size) <= geo.block_size);
        }
    }
    true
}

pub fn group_desc(data: &[u8]) -> bool {
    let (geo, mut buf) = split(data, 64);
    let _ = GroupDesc::decode_checked(short(data), &geo, 1);
    let group = u32::from(data.first().unwrap_or(&0) >> 4) % 5;
    let Ok(mut desc) = GroupDesc::decode(&buf, &geo) else {
        return false;
    };
    desc.encode(&mut buf, &geo, group).expect("size");
    assert_eq!(GroupDesc::decode(&buf, &geo), Ok(desc));
    if desc.check(&geo, group).is_err() {
        return false;
    }
    assert_eq!(GroupDesc::decode_checked(&buf, &geo, group), Ok(desc));
    let mut map = vec![0; geo.block_size as usize];
    let free = group::initial_block_bitmap(&geo, group, &mut map, desc.metadata(&geo));
    assert!(free.expect("a group that exists") <= geo.group_blocks(group));
    let crc = group::bitmap_csum(&geo, BitmapKind::Block, &map).expect("size");
    desc.set_bitmap_csum(&geo, BitmapKind::Block, crc);
    assert_eq!(
        desc.check_bitmap(&geo, group, BitmapKind::Block, &map),
        Ok(())
    );
    true
}

pub fn inode(data: &[u8]) -> bool {
    let (geo, mut buf) = split(data, 256);
    let _ = decode_whole(short(data), &geo, Ino::new(12));
    let Ok(inode) = InodeFields::decode(&buf, &geo) else {
        return false;
    };
    let _ = (inode.device(), inode.fast_symlink());
    if let Ok(Some(entries)) = attributes::inode_entries(&buf, &geo, &inode) {
        assert!(entries.count() <= buf.len() / 16);
    }
    // A block count too large for its 48 bits cannot be written back.
    if encode_whole(&inode, &mut buf, &geo, Ino::new(12)).is_err() {
        return false;
    }
    // The flag for the unit of the block count is set only when it is needed.
    let plain = |i: InodeFields| InodeFields {
        flags: i.flags & !inode::flags::HUGE_FILE,
        ..i
    };
    assert_eq!(
        InodeFields::decode(&buf, &geo).map(plain),
        Ok(plain(inode.clone()))
    );
    let checked = decode_whole(&buf, &geo, Ino::new(12));
    assert_eq!(checked.is_ok(), inode.check(&geo).is_ok());
    checked.is_ok()
}

pub fn extent_root(data: &[u8]) -> bool {
    let (geo, mut buf) = split(data, inode::BLOCK_BYTES);
    let _ = extent::check_root(short(data), &geo);
    let Ok(h) = extent::check_root(&buf, &geo) else {
        return false;
    };
    use_node(&mut buf, &geo, h);
    true
}

pub fn extent_block(data: &[u8]) -> bool {
    let (geo, mut buf) = split(data, 0);
    let seed = 7;
    let _ = extent::check_block(
        short(data),
        &geo,
        seed,
        expected(0, Lblk::FIRST, Lblk::new(100)),
    );
    let Ok(h) = extent::Header::read(&buf) else {
        return false;
    };
    if extent::update_block_csum(&mut buf, &geo, seed).is_err() {
        return false;
    }
    let first = extent::index_at(&buf, 0).expect("size").lblk;
    let end = Lblk::END;
    if extent::check_block(&buf, &geo, seed, expected(h.depth, first, end)).is_err() {
        return false;
    }
    use_node(&mut buf, &geo, h);
    true
}

/// What a tree does with a node that passed the checks.
fn use_node(node: &mut [u8], geo: &Geometry, h: extent::Header) {
    let mut next = Lblk::FIRST;
    for i in 0..h.entries {
        let lblk = if h.depth == 0 {
            let e = extent::extent_at(node, i).expect("checked");
            assert!(geo.blocks_valid(e.pblk, e.len.into()));
            let mut copy = node.to_vec();
            extent::put_extent(&mut copy, i, &e).expect("checked");
            assert_eq!(copy, node);
            assert!(e.lblk >= next);
            next = e.end();
            e.lblk
        } else {
            extent::index_at(node, i).expect("checked").lblk
        };
        assert_eq!(extent::search(node, h.entries, lblk), Ok(i + 1));
    }
    let before = node.to_vec();
    let at = h.entries / 2;
    if extent::open_gap(node, at, 1).is_ok() {
        extent::close_gap(node, at, 1).expect("just opened");
        let used = extent::ENTRY_SIZE * (1 + usize::from(h.entries));
        assert_eq!(&node[..used], &before[..used]);
    } else {
        assert_eq!(h.entries, h.max);
    }
}

pub fn dir_block(data: &[u8]) -> bool {
    let (geo, mut buf) = split(data, 0);
    let seed = 7;
    let _ = dirent::check_block(short(data), &geo, seed);
    let _ = dirent::dots(short(data), &geo);
    let _ = dirent::search_block(short(data), &geo, b"name");
    let _ = dirent::dots(&buf, &geo);
    let _ = dirent::is_empty(&buf, &geo);
    let mut copy = buf.clone();
    let _ = dirent::insert(&mut copy, &geo, &entry(b"some name", 12));
    let _ = dirent::delete_entry(&mut copy, &geo, at(12));
    let _ = dirent::init_tail(&mut buf, &geo);
    if dirent::update_csum(&mut buf, &geo, seed).is_err()
        || dirent::check_block(&buf, &geo, seed).is_err()
    {
        return false;
    }
    let names = |buf: &[u8]| -> Vec<(Vec<u8>, Option<Ino>)> {
        dirent::entries_from(buf, &geo, 0)
            .map(|e| e.map(|e| (e.name.to_vec(), e.ino)).expect("checked"))
            .collect()
    };
    // Full, then empty again from the front: what was there stays, and the block stays valid.
    let before = names(&buf);
    let mut added = 0;
    while let Some(_at) =
        dirent::insert(&mut buf, &geo, &entry(format!("+{added}").as_bytes(), 12)).expect("checked")
    {
        added += 1;
    }
    assert_eq!(names(&buf).len(), before.len() + added);
    let mut packed = buf.clone();
    htree_edit::pack(&mut packed, &geo).expect("checked");
    assert_eq!(names(&packed), names(&buf));
    loop {
        let first = dirent::entries_from(&buf, &geo, 0).next();
        let Some(name) = first.map(|e| e.expect("still valid").name.to_vec()) else {
            break;
        };
        let found = dirent::search_block(&buf, &geo, &name).expect("still valid");
        let (place, _) = found.expect("it is there");
        dirent::delete_entry(&mut buf, &geo, place).expect("an entry");
        dirent::update_csum(&mut buf, &geo, seed).expect("a tail");
        dirent::check_block(&buf, &geo, seed).expect("still valid");
    }
    assert_eq!(dirent::is_empty(&buf, &geo), Ok(true));
    true
}

/// What a directory does with an index node that passed the checks.
fn use_index(buf: &mut [u8], geo: &Geometry, node: &mut htree::DxNode) {
    for hash in [0, 1, 0x8000_0000, u32::MAX] {
        let i = node.search(buf, hash).expect("checked");
        assert!(node.entry(buf, i).expect("checked").0 <= hash);
        if i + 1 < node.count {
            assert!(node.entry(buf, i + 1).expect("checked").0 > hash);
        }
    }
    let count = node.count;
    let (hash, _) = node.entry(buf, count - 1).expect("checked");
    let room = !node.is_full();
    let done = htree_edit::insert(buf, node, count - 1, dx(hash, 2)).is_ok();
    assert_eq!(done, room);
    assert_eq!(node.count, count + u16::from(done));
    if node.count > 1 {
        let total = node.count;
        let mut new_block = vec![0; geo.block_size as usize];
        let (new, hash) =
            htree_edit::split_node(buf, node, &mut new_block, geo).expect("two entries");
        assert_eq!(node.count + new.count, total);
        assert_eq!(htree::parse_node(&new_block, geo), Ok(new));
        let last = node.entry(buf, node.count - 1).expect("checked").0;
        assert!(last <= hash);
    }
}

pub fn dx_root(data: &[u8]) -> bool {
    let (geo, mut buf) = split(data, 0);
    let seed = 7;
    let _ = htree::parse_root(short(data), &geo);
    let Ok(mut root) = htree::parse_root(&buf, &geo) else {
        return false;
    };
    htree::update_csum(&mut buf, &geo, &root.node, seed).expect("checked");
    if htree::check_node(&buf, &geo, &root.node, seed, 1 << 20).is_err() {
        return false;
    }
    let mut new_block = vec![0; geo.block_size as usize];
    let mut copy = buf.clone();
    let mut copy_root = root;
    match htree_edit::grow_root(
        &mut copy,
        &mut copy_root,
        &mut new_block,
        Lblk::new(9),
        &geo,
    ) {
        Ok(node) => {
            assert_eq!(htree::parse_node(&new_block, &geo), Ok(node));
            assert_eq!(htree::parse_root(&copy, &geo), Ok(copy_root));
            assert_eq!(node.count, root.node.count);
        }
        Err(e) => assert_eq!((e, root.indirect_levels), (Corrupt::DxLevels, 1)),
    }
    use_index(&mut buf, &geo, &mut root.node);
    true
}

pub fn dx_node(data: &[u8]) -> bool {
    let (geo, mut buf) = split(data, 0);
    let seed = 7;
    let _ = htree::parse_node(short(data), &geo);
    // Few directories of the seeds have two levels: let roots pass as nodes too.
    if buf.get(12..14) == Some(&[2, 0]) {
        buf.copy_within(32.., 8);
        buf[..8].fill(0);
        buf[4..6].copy_from_slice(&(geo.block_size as u16).to_le_bytes());
        let limit = u16::from_le_bytes([buf[8], buf[9]]).wrapping_add(3);
        buf[8..10].copy_from_slice(&limit.to_le_bytes());
    }
    let Ok(mut node) = htree::parse_node(&buf, &geo) else {
        return false;
    };
    htree::update_csum(&mut buf, &geo, &node, seed).expect("checked");
    if htree::check_node(&buf, &geo, &node, seed, 1 << 20).is_err() {
        return false;
    }
    use_index(&mut buf, &geo, &mut node);
    true
}

pub fn dx_leaf(data: &[u8]) -> bool {
    let (geo, mut buf) = split(data, 0);
    let version = match data.first().unwrap_or(&0) >> 4 & 3 {
        0 => HashVersion::Legacy,
        1 => HashVersion::Tea,
        _ => HashVersion::HalfMd4,
    };
    let mut hasher = Hasher::new(&geo, version);
    hasher.unsigned = data.len() & 1 == 0;
    let mut scratch = vec![HashedEntry::default(); MAX_LEAF_ENTRIES];
    let _ = htree::collect(short(data), &geo, &hasher, &mut scratch);
    let Ok(n) = htree::collect(&buf, &geo, &hasher, &mut scratch) else {
        return false;
    };
    assert!(scratch[..n].windows(2).all(|w| w[0] <= w[1]));
    let count = |block: &[u8]| -> usize {
        let entries = dirent::entries_from(block, &geo, 0);
        entries.filter(|e| !e.expect("packed").is_dot()).count()
    };
    let mut new_leaf = vec![0; geo.block_size as usize];
    match htree_edit::split_leaf(&mut buf, &mut new_leaf, &geo, &hasher, &mut scratch) {
        Ok(split) => {
            assert_eq!(count(&buf) + count(&new_leaf), n);
            assert!(count(&new_leaf) > 0);
            for e in dirent::entries_from(&new_leaf, &geo, 0) {
                let name = e.expect("packed").name;
                assert!(split.is_in_new(hasher.hash(name).major));
            }
            true
        }
        Err(e) => {
            assert!(n < 2, "{e}");
            false
        }
    }
}

pub fn orphan_block(data: &[u8]) -> bool {
    let (geo, mut buf) = split(data, 0);
    let _ = orphan::check_block(short(data), &geo, 7, Pblk::new(99));
    orphan::update_csum(&mut buf, &geo, 7, Pblk::new(99)).expect("size");
    if orphan::check_block(&buf, &geo, 7, Pblk::new(99)).is_err() {
        return false;
    }
    let free = |&slot: &usize| orphan::entry(&buf, &geo, slot) == Ok(None);
    if let Some(slot) = (0..orphan::entries_per_block(&geo)).find(free) {
        orphan::set_entry(&mut buf, &geo, slot, Some(Ino::new(12))).expect("a slot");
        assert_eq!(orphan::entry(&buf, &geo, slot), Ok(Some(Ino::new(12))));
    }
    true
}

pub fn xattr_block(data: &[u8]) -> bool {
    let (geo, mut buf) = split(data, 0);
    let _ = xattr::check_block(short(data), &geo, Pblk::new(99));
    let refs = u32::from_le_bytes([buf[4], buf[5], buf[6], buf[7]]);
    xattr::set_refcount(&mut buf, &geo, Pblk::new(99), refs).expect("size");
    if xattr::check_block(&buf, &geo, Pblk::new(99)) != Ok(refs) {
        return false;
    }
    for e in xattr::block_entries(&buf, &geo).expect("size") {
        let e = e.expect("checked");
        assert!(e.value.len() <= buf.len() && e.name.len() <= 255);
    }
    let old = xattr::block_entries(&buf, &geo).expect("size");
    let change = xattr_edit::AttrChange {
        name_index: 1,
        name: b"fuzz",
        value: Some(b"value"),
    };
    let mut new = vec![0; buf.len()];
    let done = xattr_edit::rewrite(Some(old), &change, xattr_edit::Place::Block, &mut new);
    if done.expect("checked") == xattr_edit::Rewritten::Filled {
        xattr::set_refcount(&mut new, &geo, Pblk::new(99), 1).expect("size");
        assert_eq!(xattr::check_block(&new, &geo, Pblk::new(99)), Ok(1));
    }
    true
}
