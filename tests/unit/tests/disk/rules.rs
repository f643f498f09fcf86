// SPDX-License-Identifier: GPL-2.0

//! Every rule of every structure, broken alone: refused, and for that reason.

use crate::image::{geometry, geometry_with};
use rext4_unit::disk::group::{self, BitmapKind};
use rext4_unit::disk::*;
use rext4_unit::short::{dx, entry};
use rext4_unit::{decode_whole, encode_whole};

/// Each rule of a group descriptor, broken alone.
#[test]
fn bad_descriptors_are_refused() {
    let flex = geometry(1024, true);
    let strict = geometry_with(1024, |r| r.set_incompat(features::INCOMPAT_FLEX_BG, false));
    let good = GroupDesc {
        block_bitmap: 8300,
        inode_bitmap: 8301,
        inode_table: 8302,
        free_blocks: 7000,
        free_inodes: 2000,
        used_dirs: 48,
        itable_unused: 2048,
        ..GroupDesc::default()
    };
    for geo in [&flex, &strict] {
        good.check(geo, 1).unwrap();
        assert_eq!(good.check(geo, 4), Err(Corrupt::GroupNumber));
        type Change = fn(&mut GroupDesc);
        let cases: &[(Change, Corrupt)] = &[
            (|d| d.block_bitmap = 0, Corrupt::GroupBlockBitmap),
            (|d| d.block_bitmap = 2, Corrupt::GroupBlockBitmap),
            (|d| d.block_bitmap = u64::MAX, Corrupt::GroupBlockBitmap),
            (|d| d.inode_bitmap = 8300, Corrupt::GroupInodeBitmap),
            (|d| d.inode_bitmap = 32769, Corrupt::GroupInodeBitmap),
            (|d| d.inode_table = 8300, Corrupt::GroupInodeTable),
            (|d| d.block_bitmap = 8310, Corrupt::GroupInodeTable),
            (|d| d.inode_bitmap = 8310, Corrupt::GroupInodeTable),
            (|d| d.inode_table = 8000, Corrupt::GroupInodeTable),
            (|d| d.inode_table = 32768, Corrupt::GroupInodeTable),
            (|d| d.inode_table = u64::MAX, Corrupt::GroupInodeTable),
            (|d| d.free_blocks = 8193, Corrupt::GroupFreeBlocks),
            (|d| d.free_inodes = 2049, Corrupt::GroupFreeInodes),
            (|d| d.used_dirs = 49, Corrupt::GroupUsedDirs),
            (|d| d.itable_unused = 2049, Corrupt::GroupUnusedInodes),
        ];
        for (n, (change, error)) in cases.iter().enumerate() {
            let mut bad = good;
            change(&mut bad);
            assert_eq!(bad.check(geo, 1), Err(*error), "case {n}");
        }
    }
    // Clusters of 16 blocks.
    let mut bigalloc = flex.clone();
    bigalloc.cluster_bits = bigalloc.block_bits + 4;
    assert_eq!(good.check(&bigalloc, 1), Err(Corrupt::GroupFreeBlocks));
    let mut all_free = good;
    all_free.free_blocks = 512;
    all_free.check(&bigalloc, 1).unwrap();
    // In another group: only with flex_bg.
    good.check(&flex, 2).unwrap();
    assert_eq!(good.check(&strict, 2), Err(Corrupt::GroupBlockBitmap));
}

/// A bitmap whose padding is free, whose metadata is free, or whose checksum is wrong.
#[test]
fn bad_bitmaps_are_refused() {
    let geo = geometry_with(1024, |r| r.blocks_count_lo.set(8192 * 3 + 1 + 1000));
    let g = 3;
    let mut desc = GroupDesc {
        block_bitmap: 24_600,
        inode_bitmap: 24_601,
        inode_table: 24_602,
        ..GroupDesc::default()
    };
    let mut map = vec![0; 1024];
    let free = group::initial_block_bitmap(&geo, g, &mut map, desc.metadata(&geo)).unwrap();
    let base = geo.group_base_blocks(g);
    assert_eq!(free, 1000 - base - 2 - geo.itable_blocks);
    let seal = |desc: &mut GroupDesc, map: &[u8]| {
        let crc = group::bitmap_csum(&geo, BitmapKind::Block, map).unwrap();
        desc.set_bitmap_csum(&geo, BitmapKind::Block, crc);
    };
    let clear = |map: &mut [u8], n: usize| map[n / 8] &= !(1 << (n % 8));
    let check = |desc: &GroupDesc, map: &[u8]| desc.check_bitmap(&geo, g, BitmapKind::Block, map);
    seal(&mut desc, &map);
    check(&desc, &map).unwrap();
    bitmap::set_range(&mut map, 999, 1);
    assert_eq!(check(&desc, &map), Err(Corrupt::BlockBitmapChecksum));
    seal(&mut desc, &map);
    check(&desc, &map).unwrap();
    clear(&mut map, 1000);
    seal(&mut desc, &map);
    assert_eq!(check(&desc, &map), Err(Corrupt::BlockBitmapTail));
    bitmap::set_range(&mut map, 1000, 1);
    let table = (desc.inode_table - geo.group_first_block(g).get()) as usize;
    clear(&mut map, table + 5);
    seal(&mut desc, &map);
    assert_eq!(check(&desc, &map), Err(Corrupt::BlockBitmapMetadata));

    let mut map = vec![0xff; 1024];
    group::initial_inode_bitmap(&geo, &mut map);
    assert_eq!(bitmap::count_zeros(&map, 8192), 2048);
    let crc = group::bitmap_csum(&geo, BitmapKind::Inode, &map).unwrap();
    desc.set_bitmap_csum(&geo, BitmapKind::Inode, crc);
    desc.check_bitmap(&geo, g, BitmapKind::Inode, &map).unwrap();
    clear(&mut map, 2048);
    assert_eq!(
        desc.check_bitmap(&geo, g, BitmapKind::Inode, &map),
        Err(Corrupt::InodeBitmapTail)
    );
}

fn good_inode() -> InodeFields {
    let mut good = InodeFields {
        mode: inode::S_IFREG | 0o644,
        links: 1,
        size: 100,
        blocks: 2,
        flags: inode::flags::EXTENTS,
        extra_isize: 32,
        ..InodeFields::default()
    };
    extent::init_node(&mut good.block, 0, 4).unwrap();
    good
}

/// Each rule of an inode, broken alone.
#[test]
fn bad_inodes_are_refused() {
    let geo = geometry(1024, true);
    let good = good_inode();
    good.check(&geo).unwrap();
    type Change = fn(&mut InodeFields);
    let cases: &[(Change, Corrupt)] = &[
        (|i| i.mode = 0, Corrupt::InodeMode),
        (|i| i.mode = 0xf1a4, Corrupt::InodeMode),
        (
            |i| i.flags |= inode::flags::INLINE_DATA,
            Corrupt::InodeFlags,
        ),
        (|i| i.flags |= inode::flags::ENCRYPT, Corrupt::InodeFlags),
        (|i| i.flags |= inode::flags::VERITY, Corrupt::InodeFlags),
        (|i| i.size = 1 << 42, Corrupt::InodeSize),
        (|i| i.size = u64::MAX, Corrupt::InodeSize),
        (|i| i.blocks = 1 << 20, Corrupt::InodeBlocks),
        (|i| i.file_acl = Some(Pblk::new(1)), Corrupt::InodeAcl),
        (|i| i.file_acl = Some(Pblk::new(1 << 33)), Corrupt::InodeAcl),
        (|i| i.mode = inode::S_IFDIR, Corrupt::InodeSize),
        // A symlink with blocks looks at the tree like any other file.
        (
            |i| (i.mode, i.block[0]) = (inode::S_IFLNK, 1),
            Corrupt::ExtentMagic,
        ),
        (|i| i.block[0] = 0, Corrupt::ExtentMagic),
        (|i| i.block[2] = 5, Corrupt::ExtentEntries),
        (|i| i.block[4] = 5, Corrupt::ExtentMax),
        (|i| i.block[6] = 6, Corrupt::ExtentDepth),
        (|i| i.block[6] = 1, Corrupt::ExtentEntries),
        (|i| i.block[2] = 1, Corrupt::ExtentRange),
    ];
    for (n, (change, error)) in cases.iter().enumerate() {
        let mut bad = good.clone();
        change(&mut bad);
        assert_eq!(bad.check(&geo), Err(*error), "case {n}");
    }
}

/// What a crash in the middle of a removal leaves is for orphan processing, not corrupt.
#[test]
fn removed_inodes_are_accepted() {
    let geo = geometry(1024, true);
    let good = good_inode();
    for mode in [inode::S_IFREG, inode::S_IFDIR, inode::S_IFLNK] {
        let mut removed = good.clone();
        (removed.mode, removed.links, removed.size) = (mode, 0, 0);
        assert_eq!(removed.check(&geo), Ok(()));
        removed.blocks = 0;
        assert_eq!(removed.check(&geo), Ok(()));
        // The block of a long symlink is gone, its length is not.
        removed.size = 70;
        assert_eq!(removed.check(&geo), Ok(()));
        removed.size = 0;
        removed.links = 1;
        assert_eq!(removed.check(&geo).is_ok(), mode == inode::S_IFREG);
    }
}

/// The bytes of an inode are for its number only, and their length and that of its fields must be.
#[test]
fn bad_inode_bytes_are_refused() {
    let geo = geometry(1024, true);
    let good = good_inode();
    let mut raw = vec![0; 256];
    encode_whole(&good, &mut raw, &geo, Ino::new(12)).unwrap();
    assert_eq!(decode_whole(&raw, &geo, Ino::new(12)).as_ref(), Ok(&good));
    for ino in [0, geo.inodes_count + 1].map(Ino::new) {
        let result = decode_whole(&raw, &geo, ino);
        assert_eq!(result, Err(Corrupt::InodeNumber));
    }
    let other = decode_whole(&raw, &geo, Ino::new(13));
    assert_eq!(other, Err(Corrupt::InodeChecksum));
    for extra in [129u16, 132, 2, 0xffff] {
        raw[0x80..0x82].copy_from_slice(&extra.to_le_bytes());
        assert_eq!(
            InodeFields::decode(&raw, &geo),
            Err(Corrupt::InodeExtraIsize)
        );
    }
    let short = &raw[..inode::HEAD_MAX - 1];
    assert_eq!(InodeFields::decode(short, &geo), Err(Corrupt::ShortBuffer));
}

/// Each rule of an attribute block, broken alone.
#[test]
fn bad_attributes_are_refused() {
    let geo = geometry(1024, false);
    let mut good = vec![0; 1024];
    good[0..4].copy_from_slice(&xattr::MAGIC.to_le_bytes());
    good[4] = 1;
    good[8] = 1;
    // "user.abcde" with four bytes at the end, then "user.x" without a value.
    good[32..36].copy_from_slice(&[5, 1, 0xfc, 3]);
    good[40] = 4;
    good[48..53].copy_from_slice(b"abcde");
    good[56..58].copy_from_slice(&[1, 1]);
    good[72] = b'x';
    good[1020..].copy_from_slice(b"VALU");
    assert_eq!(xattr::check_block(&good, &geo, Pblk::new(50)), Ok(1));
    let all: Vec<_> = xattr::block_entries(&good, &geo)
        .unwrap()
        .map(|e| e.unwrap())
        .collect();
    assert_eq!((all[0].name, all[0].value), (&b"abcde"[..], &b"VALU"[..]));
    assert_eq!((all[1].name, all[1].value), (&b"x"[..], &b""[..]));
    assert_eq!(all.len(), 2);
    let changes: &[(usize, &[u8], Corrupt)] = &[
        (0, &[1], Corrupt::XattrMagic),
        (4, &[0], Corrupt::XattrHeader),
        (4, &[1, 4], Corrupt::XattrHeader),
        (8, &[2], Corrupt::XattrHeader),
        (36, &[12], Corrupt::XattrEntry),
        (50, &[0], Corrupt::XattrEntry),
        (40, &[5], Corrupt::XattrValue),
        (43, &[0x80], Corrupt::XattrValue),
        (34, &[0, 4], Corrupt::XattrValue),
        (34, &[32, 0], Corrupt::XattrValue),
        // Behind its own entry, but over the next one or the end of the list.
        (34, &[60, 0], Corrupt::XattrValue),
        (34, &[76, 0], Corrupt::XattrValue),
    ];
    for (at, bytes, error) in changes {
        let mut bad = good.clone();
        bad[*at..][..bytes.len()].copy_from_slice(bytes);
        let result = xattr::check_block(&bad, &geo, Pblk::new(50));
        assert_eq!(result, Err(*error), "byte {at}: {bytes:?}");
    }
    good[34..36].copy_from_slice(&[80, 0]);
    assert_eq!(xattr::check_block(&good, &geo, Pblk::new(50)), Ok(1));
    // A list that does not end.
    good[76..].fill(0xff);
    assert_eq!(
        xattr::check_block(&good, &geo, Pblk::new(50)),
        Err(Corrupt::XattrEntry)
    );
}

/// The first block of a directory with an index: three entries, for leaves 1, 2 and 3.
fn good_index(geo: &Geometry) -> (Vec<u8>, htree::Root) {
    use rext4_unit::disk::hash::HashVersion;
    let mut block = vec![0; 1024];
    dirent::make_dot_entries(&mut block, geo, Ino::new(100), Ino::ROOT).unwrap();
    dirent::insert(&mut block, geo, &entry(b"x", 12)).unwrap();
    let mut leaf = vec![0; 1024];
    let version = HashVersion::HalfMd4;
    let mut root =
        htree_edit::make_indexed(&mut block, &mut leaf, geo, version, Lblk::new(1)).unwrap();
    htree_edit::insert(&mut block, &mut root.node, 0, dx(0x1000, 2)).unwrap();
    htree_edit::insert(&mut block, &mut root.node, 1, dx(0x2000, 3)).unwrap();
    htree::update_csum(&mut block, geo, &root.node, 3).unwrap();
    (block, root)
}

/// Each rule of a directory index, broken alone.
#[test]
fn bad_indexes_are_refused() {
    let geo = geometry(1024, true);
    let (block, root) = good_index(&geo);
    let check = |block: &[u8]| {
        let root = htree::parse_root(block, &geo)?;
        htree::check_node(block, &geo, &root.node, 3, 4)
    };
    check(&block).unwrap();
    for (at, value, what) in [
        (8, b'x', Corrupt::DirentDots),
        (12, 0, Corrupt::DirentInode),
        (16, 0xf0, Corrupt::DxRoot),
        (24, 1, Corrupt::DxRoot),
        (28, 3, Corrupt::DxHashVersion),
        (29, 12, Corrupt::DxRoot),
        (30, 2, Corrupt::DxLevels),
        (31, 1, Corrupt::DxRoot),
        (32, 122, Corrupt::DxLimit),
        (34, 0, Corrupt::DxCount),
        (34, 124, Corrupt::DxCount),
        (40, 1, Corrupt::DxChecksum),
        (1023, 1, Corrupt::DxChecksum),
    ] {
        let mut bad = block.clone();
        bad[at] = value;
        assert_eq!(check(&bad), Err(what), "byte {at}");
    }
    let reseal = |mut bad: Vec<u8>| {
        htree::update_csum(&mut bad, &geo, &root.node, 3).unwrap();
        check(&bad)
    };
    let mut bad = block.clone();
    bad[41] = 0x30;
    assert_eq!(reseal(bad), Err(Corrupt::DxOrder));
    for lblk in [0, 4] {
        let mut bad = block.clone();
        bad[44] = lblk;
        assert_eq!(reseal(bad), Err(Corrupt::DxBlock));
    }
    assert_eq!(
        htree::check_node(&block, &geo, &root.node, 4, 4),
        Err(Corrupt::DxChecksum)
    );
}

/// The first entry stands for all hashes below the second one's.
#[test]
fn an_index_is_searched() {
    let (block, root) = good_index(&geometry(1024, true));
    for (hash, want) in [
        (0, 0),
        (0xffe, 0),
        (0x1000, 1),
        (0x1ffe, 1),
        (0x2000, 2),
        (u32::MAX, 2),
    ] {
        assert_eq!(root.node.search(&block, hash), Ok(want));
    }
}

/// The entries of a full root move to a node below it, once.
#[test]
fn a_full_index_grows() {
    let geo = geometry(1024, true);
    let (mut block, mut root) = good_index(&geo);
    while htree_edit::insert(&mut block, &mut root.node, 2, dx(0x3000, 5)).is_ok() {}
    assert_eq!((root.node.count, root.node.limit), (123, 123));
    let mut node_block = vec![0xff; 1024];
    let node =
        htree_edit::grow_root(&mut block, &mut root, &mut node_block, Lblk::new(9), &geo).unwrap();
    assert_eq!(htree::parse_root(&block, &geo), Ok(root));
    assert_eq!(root.indirect_levels, 1);
    assert_eq!(root.node.entry(&block, 0), Ok((0, Lblk::new(9))));
    assert_eq!(htree::parse_node(&node_block, &geo), Ok(node));
    assert_eq!((node.count, node.limit), (123, 126));
    let mut more = vec![0; 1024];
    let again = htree_edit::grow_root(&mut block, &mut root, &mut more, Lblk::new(9), &geo);
    assert_eq!(again, Err(Corrupt::DxLevels));
    node_block[4] = 1;
    assert_eq!(htree::parse_node(&node_block, &geo), Err(Corrupt::DxRoot));
}

/// With large_dir it grows twice, and a root may say so.
#[test]
fn a_large_directory_has_a_level_more() {
    let mut geo = geometry(1024, true);
    assert_eq!(
        (htree::levels(&geo), htree::max_blocks(&geo)),
        (2, 0x3f_ffff)
    );
    geo.features.incompat |= features::INCOMPAT_LARGEDIR;
    assert_eq!((htree::levels(&geo), htree::max_blocks(&geo)), (3, 1 << 28));
    let (mut block, mut root) = good_index(&geo);
    let mut node = vec![0; 1024];
    for (levels, lblk) in [(1, 9), (2, 8)] {
        let lblk = Lblk::new(lblk);
        htree_edit::grow_root(&mut block, &mut root, &mut node, lblk, &geo).unwrap();
        assert_eq!(htree::parse_root(&block, &geo), Ok(root));
        assert_eq!(root.indirect_levels, levels);
    }
    let again = htree_edit::grow_root(&mut block, &mut root, &mut node, Lblk::new(7), &geo);
    assert_eq!(again, Err(Corrupt::DxLevels));
    block[30] = 3;
    assert_eq!(htree::parse_root(&block, &geo), Err(Corrupt::DxLevels));
}
