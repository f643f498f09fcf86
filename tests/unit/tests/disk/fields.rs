// SPDX-License-Identifier: GPL-2.0

//! Single structures of real images: inodes, devices, extent trees, the orphan file, attributes.

use crate::image::Image;
use rext4_unit::attributes;
use rext4_unit::disk::*;
use rext4_unit::encode_whole;
use rext4_unit::short::expected;
use std::fs;

/// Fields of an inode, and what debugfs is told to make of them.
const FIELDS: [(&str, &str); 10] = [
    ("uid", "305419896"),
    ("gid", "2271560481"),
    ("mode", "0100640"),
    ("flags", "0x800a0"),
    ("generation", "3735928559"),
    ("version", "0xcafebabe12345678"),
    ("atime", "@0x0123456789"),
    ("mtime", "@-5"),
    ("ctime_extra", "0x77359400"),
    ("links_count", "3"),
];

/// Each time is encoded as `stat` of debugfs shows it: seconds, and behind a colon the rest where
/// the inode is large.
fn times_agree(i: &InodeFields, stat: &str, large: bool) {
    for (what, t) in [("atime", i.atime), ("ctime", i.ctime), ("mtime", i.mtime)] {
        let line = stat.lines().find(|l| l.trim().starts_with(what)).unwrap();
        let hex = line.split("0x").nth(1).unwrap();
        let hex = hex.split_whitespace().next().unwrap();
        let (base, extra) = hex
            .split_once(':')
            .map_or((hex, None), |(b, e)| (b, Some(e)));
        let (b, e) = t.encode(large);
        assert_eq!(u32::from_str_radix(base, 16).unwrap(), b, "{line}");
        assert_eq!(extra.is_some(), large);
        if let Some(extra) = extra {
            assert_eq!(u32::from_str_radix(extra, 16).unwrap(), e, "{line}");
        }
    }
    if large {
        assert_eq!(i.atime.sec, 0x01_2345_6789);
        assert_eq!(i.ctime.nsec, 500_000_000);
    }
}

/// Every field of an inode as debugfs shows it, before and after changes made through debugfs.
#[test]
fn inode_fields_agree_with_debugfs() {
    for opts in [&["-b", "1024"][..], &["-b", "1024", "-I", "128"]] {
        let mut image = Image::make(opts, "16M", |dir| {
            fs::write(dir.join("f"), vec![7u8; 5000]).unwrap();
        });
        let large = image.geo.inode_size > 128;
        for (field, value) in FIELDS {
            image.debugfs_write(&format!("set_inode_field f {field} {value}"));
        }
        let ino = image.lookup("f");
        let i = image.inode(ino);
        assert_eq!(i.uid, 305_419_896);
        assert_eq!(i.gid, 2_271_560_481);
        assert_eq!(i.mode, 0o100_640);
        let flags = inode::flags::EXTENTS | inode::flags::APPEND | inode::flags::NOATIME;
        assert_eq!(i.flags, flags);
        assert_eq!(i.generation, 3_735_928_559);
        assert_eq!(i.links, 3);
        assert_eq!(i.size, 5000);
        let stat = image.debugfs(&["stat f".into()]).remove(0);
        times_agree(&i, &stat, large);
        if large {
            assert_eq!(i.version & 0xffff_ffff, 0x1234_5678);
        }
        let word = |key: &str| -> u64 {
            let rest = stat.split(key).nth(1).unwrap_or_else(|| panic!("{key}"));
            rest.split_whitespace().next().unwrap().parse().unwrap()
        };
        assert_eq!(word("Blockcount:"), i.blocks);
        // Writing it back gives the same bytes, checksum included.
        let mut raw = image.raw_inode(ino).to_vec();
        encode_whole(&i, &mut raw, &image.geo, ino).unwrap();
        assert_eq!(raw, image.raw_inode(ino));
    }
}

#[test]
fn devices_agree_with_debugfs() {
    let mut image = Image::make(&["-b", "1024"], "16M", |_| {});
    image.debugfs_write("mknod small c 4 64");
    image.debugfs_write("mknod large b 700 60000");
    image.debugfs_write("mknod pipe p");
    let small = image.inode(image.lookup("small"));
    assert_eq!(small.file_type(), inode::S_IFCHR);
    assert_eq!(small.device(), (4, 64));
    let large = image.inode(image.lookup("large"));
    assert_eq!(large.file_type(), inode::S_IFBLK);
    assert_eq!(large.device(), (700, 60_000));
    assert_eq!(
        image.inode(image.lookup("pipe")).file_type(),
        inode::S_IFIFO
    );
    for (major, minor, like) in [(4, 64, &small), (700, 60_000, &large)] {
        let mut copy = like.clone();
        copy.set_device(major, minor);
        assert_eq!(copy.block, like.block);
    }
}

/// A file of thousands of extents: index nodes with checksums.
#[test]
fn deep_extent_trees() {
    let image = Image::make(&["-b", "1024"], "32M", |dir| {
        let mut data = vec![0u8; 6_000_000];
        for at in (0..data.len()).step_by(2048) {
            data[at] = 9;
        }
        fs::write(dir.join("f"), data).unwrap();
    });
    let ino = image.lookup("f");
    let inode = image.inode(ino);
    let root = extent::check_root(&inode.block, &image.geo).unwrap();
    assert!(root.depth >= 1, "not deep: {root:?}");
    assert!(image.extents(ino, &inode).len() > 2000);
    let content = fs::read(image.source().join("f")).unwrap();
    assert!(image.read_file(ino, &inode) == content);

    // A changed byte anywhere in a node is noticed.
    let index = extent::index_at(&inode.block, 0).unwrap();
    let mut node = image.block(index.pblk).to_vec();
    let seed = inode.csum_seed(&image.geo, ino);
    let check = |node: &[u8]| {
        let end = Lblk::END;
        extent::check_block(
            node,
            &image.geo,
            seed,
            expected(root.depth - 1, index.lblk, end),
        )
    };
    check(&node).unwrap();
    for at in [0, 2, 4, 6, 12, 500, 1020] {
        node[at] ^= 0x40;
        assert!(check(&node).is_err(), "byte {at}");
        node[at] ^= 0x40;
    }
    extent::update_block_csum(&mut node, &image.geo, seed).unwrap();
    assert_eq!(node, image.block(index.pblk));

    // What is behind the entries stays as it is, and is summed as it is.
    let h = extent::Header::read(&node).unwrap();
    let mut new = node.to_vec();
    extent::close_gap(&mut new, 1, h.entries - 1).unwrap();
    let behind = extent::ENTRY_SIZE * (1 + usize::from(h.entries));
    new[behind..].fill(0x55);
    let mut old = node.to_vec();
    extent::replace_entries(&mut old, &new, &image.geo, seed).unwrap();
    assert_eq!(extent::Header::read(&old).unwrap().entries, 1);
    assert!(!old[behind..].contains(&0x55));
    check(&old).unwrap();
}

#[test]
fn orphan_files() {
    for bs in ["1024", "4096"] {
        let image = Image::make(&["-b", bs, "-O", "orphan_file"], "16M", |_| {});
        let geo = &image.geo;
        let ino = geo.orphan_file_inum.unwrap();
        let inode = image.inode(ino);
        let seed = inode.csum_seed(geo, ino);
        let map = image.block_map(ino, &inode);
        assert!(!map.is_empty());
        for (_, pblk) in map {
            let mut block = image.block(pblk).to_vec();
            orphan::check_block(&block, geo, seed, pblk).unwrap();
            assert_eq!(orphan::entry(&block, geo, 0), Ok(None));
            // The checksum holds the block's own number.
            let moved = orphan::check_block(&block, geo, seed, pblk + 1);
            assert_eq!(moved, Err(Corrupt::OrphanChecksum));
            orphan::set_entry(&mut block, geo, 5, Some(Ino::new(13))).unwrap();
            let stale = orphan::check_block(&block, geo, seed, pblk);
            assert_eq!(stale, Err(Corrupt::OrphanChecksum));
            orphan::update_csum(&mut block, geo, seed, pblk).unwrap();
            orphan::check_block(&block, geo, seed, pblk).unwrap();
            assert_eq!(orphan::entry(&block, geo, 5), Ok(Some(Ino::new(13))));
            let magic_at = block.len() - 8;
            block[magic_at] ^= 1;
            let magic = orphan::check_block(&block, geo, seed, pblk);
            assert_eq!(magic, Err(Corrupt::OrphanMagic));
            block[magic_at] ^= 1;
            let numbers = [geo.first_ino.get() - 1, geo.inodes_count + 1].map(Ino::new);
            for bad in numbers.into_iter().chain([Ino::ROOT, ino]) {
                orphan::set_entry(&mut block, geo, 5, Some(bad)).unwrap();
                orphan::update_csum(&mut block, geo, seed, pblk).unwrap();
                let result = orphan::check_block(&block, geo, seed, pblk);
                assert_eq!(result, Err(Corrupt::OrphanInode));
            }
            orphan::set_entry(&mut block, geo, 5, None).unwrap();
            orphan::update_csum(&mut block, geo, seed, pblk).unwrap();
            assert_eq!(block, image.block(pblk));
        }
    }
}

#[test]
fn extended_attributes() {
    for csum in ["metadata_csum", "^metadata_csum"] {
        let mut image = Image::make(&["-b", "2048", "-O", csum], "16M", |dir| {
            fs::write(dir.join("f"), b"x").unwrap();
        });
        image.debugfs_write("ea_set f user.tiny v");
        image.debugfs_write("ea_set f trusted.second other");
        let value = image.source().join("value");
        fs::write(&value, vec![b'L'; 700]).unwrap();
        image.debugfs_write(&format!("ea_set -f {} f user.large", value.display()));
        let ino = image.lookup("f");
        let inode = image.inode(ino);
        let acl = inode.file_acl.unwrap();
        let inside = attributes::inode_entries(image.raw_inode(ino), &image.geo, &inode).unwrap();
        let mut all: Vec<_> = inside.unwrap().map(|e| e.unwrap()).collect();
        let block = image.block(acl);
        assert_eq!(xattr::check_block(block, &image.geo, acl), Ok(1));
        all.extend(
            xattr::block_entries(block, &image.geo)
                .unwrap()
                .map(|e| e.unwrap()),
        );
        let hashes = xattr::block_entries(block, &image.geo).unwrap();
        assert_eq!(hashes.check_hashes(), Ok(()));
        let mut names: Vec<_> = all
            .iter()
            .map(|e| {
                let name = String::from_utf8_lossy(e.name).into_owned();
                (
                    attributes::prefix(e.name_index).unwrap().to_string() + &name,
                    e.value.len(),
                )
            })
            .collect();
        names.sort();
        let expect = [("trusted.second", 5), ("user.large", 700), ("user.tiny", 1)];
        assert_eq!(names, expect.map(|(n, l)| (n.to_string(), l)));
        assert!(inode.is_reg() && !inode.is_fast_symlink(&image.geo));

        let mut copy = block.to_vec();
        xattr::set_refcount(&mut copy, &image.geo, acl, 2).unwrap();
        assert_eq!(xattr::check_block(&copy, &image.geo, acl), Ok(2));
        xattr::set_refcount(&mut copy, &image.geo, acl, 1).unwrap();
        assert_eq!(copy, block);
        copy[1000] ^= 1;
        let changed = xattr::check_block(&copy, &image.geo, acl);
        assert_eq!(changed.is_err(), image.geo.has_metadata_csum);
    }
}
