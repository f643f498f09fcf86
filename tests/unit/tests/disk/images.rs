// SPDX-License-Identifier: GPL-2.0

//! Whole images in many shapes: what dumpe2fs and debugfs say is what this code reads.

use crate::image::{run, Image};
use rext4_unit::disk::group::{self, bitmap_csum, Bitmap};
use rext4_unit::disk::*;
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{symlink, MetadataExt, PermissionsExt};
use std::path::Path;

/// Name, options of mke2fs, size.
const SHAPES: &[(&str, &[&str], &str)] = &[
    ("4k", &["-b", "4096", "-g", "2048"], "48M"),
    ("2k", &["-b", "2048", "-g", "4096"], "32M"),
    ("1k", &["-b", "1024"], "40M"),
    ("seed", &["-b", "1024", "-O", "metadata_csum_seed"], "20M"),
    ("orphan_file", &["-b", "4096", "-O", "orphan_file"], "20M"),
    (
        "uninit_bg",
        &["-b", "1024", "-O", "^metadata_csum,uninit_bg"],
        "40M",
    ),
    (
        "uninit_bg 32bit",
        &[
            "-b",
            "1024",
            "-O",
            "^metadata_csum,uninit_bg,^64bit,^resize_inode",
        ],
        "40M",
    ),
    (
        "no checksums",
        &["-b", "2048", "-O", "^metadata_csum,^uninit_bg"],
        "20M",
    ),
    (
        "32bit",
        &["-b", "1024", "-O", "^64bit,metadata_csum"],
        "40M",
    ),
    (
        "no flex_bg",
        &["-b", "1024", "-O", "^flex_bg", "-g", "2048"],
        "20M",
    ),
    (
        "no sparse",
        &["-b", "1024", "-O", "^sparse_super,^resize_inode"],
        "40M",
    ),
    (
        "sparse_super2",
        &[
            "-b",
            "1024",
            "-O",
            "sparse_super2,^resize_inode",
            "-g",
            "2048",
        ],
        "20M",
    ),
    ("128 byte inodes", &["-b", "1024", "-I", "128"], "20M"),
    (
        "512 byte inodes",
        &["-b", "4096", "-I", "512", "-G", "2", "-g", "1024"],
        "32M",
    ),
    (
        "no journal",
        &["-b", "4096", "-O", "^has_journal,^dir_index"],
        "16M",
    ),
    ("no filetype", &["-b", "1024", "-O", "^filetype"], "16M"),
];

/// A small tree with everything the format stores differently.
fn tree(dir: &Path) {
    fs::write(dir.join("empty"), b"").unwrap();
    fs::write(dir.join("small"), b"hello").unwrap();
    let big: Vec<u8> = (0..300_000u32).flat_map(|i| i.to_le_bytes()).collect();
    fs::write(dir.join("big"), &big).unwrap();
    fs::set_permissions(dir.join("big"), fs::Permissions::from_mode(0o4751)).unwrap();
    // Data, holes, data: several extents.
    let mut holes = vec![0u8; 900_000];
    for at in (0..holes.len()).step_by(40_960) {
        holes[at] = 1;
    }
    fs::write(dir.join("holes"), &holes).unwrap();
    symlink("short/target", dir.join("fast")).unwrap();
    symlink("x".repeat(59), dir.join("fast59")).unwrap();
    symlink("x".repeat(60), dir.join("slow60")).unwrap();
    symlink("y".repeat(900), dir.join("slow")).unwrap();
    fs::create_dir_all(dir.join("sub/deep/er")).unwrap();
    fs::write(dir.join("sub/deep/er/f"), b"deep").unwrap();
    fs::hard_link(dir.join("small"), dir.join("sub/link")).unwrap();
    fs::create_dir(dir.join("many")).unwrap();
    for i in 0..300 {
        let name = format!("{i}-{}", "n".repeat(i % 90));
        fs::write(dir.join("many").join(name), i.to_string()).unwrap();
    }
}

fn field<'a>(dump: &'a str, key: &str) -> Option<&'a str> {
    dump.lines()
        .filter_map(|l| l.split_once(':'))
        .find(|(k, _)| *k == key)
        .map(|(_, v)| v.trim())
}

fn number(dump: &str, key: &str) -> u64 {
    let v = field(dump, key).unwrap_or_else(|| panic!("no {key} in:\n{dump}"));
    v.split_whitespace().next().unwrap().parse().unwrap()
}

fn check_super(image: &Image) {
    let dump = image.dumpe2fs();
    let geo = &image.geo;
    let raw = image.raw_super();
    assert_eq!(number(&dump, "Inode count"), geo.inodes_count.into());
    assert_eq!(number(&dump, "Block count"), geo.blocks_count);
    assert_eq!(number(&dump, "Free blocks"), raw.free_blocks_count());
    assert_eq!(
        number(&dump, "Free inodes"),
        raw.free_inodes_count.get().into()
    );
    assert_eq!(
        number(&dump, "Reserved block count"),
        raw.reserved_blocks_count()
    );
    assert_eq!(number(&dump, "First block"), geo.first_data_block.into());
    assert_eq!(number(&dump, "Block size"), geo.block_size.into());
    assert_eq!(
        number(&dump, "Blocks per group"),
        geo.blocks_per_group.into()
    );
    assert_eq!(
        number(&dump, "Inodes per group"),
        geo.inodes_per_group.into()
    );
    assert_eq!(
        number(&dump, "Inode blocks per group"),
        geo.itable_blocks.into()
    );
    assert_eq!(number(&dump, "First inode"), geo.first_ino.into());
    assert_eq!(number(&dump, "Inode size"), geo.inode_size.into());
    let reserved = field(&dump, "Reserved GDT blocks").map_or(0, |v| v.parse().unwrap());
    assert_eq!(geo.reserved_gdt_blocks, reserved);
    let desc_size = field(&dump, "Group descriptor size").map_or(32, |v| v.parse().unwrap());
    assert_eq!(geo.desc_size, desc_size);
    let journal = field(&dump, "Journal inode").map_or(0, |v| v.parse().unwrap());
    assert_eq!(geo.journal_inum, journal);
    let orphan = field(&dump, "Orphan file inode").map_or(0, |v| v.parse().unwrap());
    assert_eq!(geo.orphan_file_inum, orphan);
    let flex = field(&dump, "Flex block group size").map_or(1, |v| v.parse().unwrap());
    assert_eq!(1u32 << geo.log_groups_per_flex, flex);
    let signed = field(&dump, "Filesystem flags")
        .unwrap()
        .contains("unsigned");
    assert_eq!(geo.hash_unsigned, signed);

    // Every feature has the name dumpe2fs gives it, and there are no others.
    let mut ours = Vec::new();
    for bit in 0..32 {
        let f = &geo.features;
        for (word, name) in [
            (f.compat, features::compat_name(1 << bit)),
            (f.incompat, features::incompat_name(1 << bit)),
            (f.ro_compat, features::ro_compat_name(1 << bit)),
        ] {
            if word & (1 << bit) != 0 {
                ours.push(name.unwrap());
            }
        }
    }
    let mut theirs: Vec<&str> = field(&dump, "Filesystem features")
        .unwrap()
        .split_whitespace()
        .collect();
    ours.sort_unstable();
    theirs.sort_unstable();
    assert_eq!(ours, theirs);
    assert_eq!(geo.features.unknown_ro_compat(), 0);
}

/// The numbers in a line, in order.
fn numbers(line: &str) -> Vec<u64> {
    line.split(|c: char| !c.is_ascii_digit())
        .filter_map(|s| s.parse().ok())
        .collect()
}

/// The hexadecimal number behind `csum `.
fn csum(line: &str) -> Option<u32> {
    let hex = line.split("csum 0x").nth(1)?;
    let hex: String = hex.chars().take_while(char::is_ascii_hexdigit).collect();
    u32::from_str_radix(&hex, 16).ok()
}

fn check_groups(image: &Image) {
    let geo = &image.geo;
    let dump = image.dumpe2fs();
    let mut group = None;
    let mut seen = 0;
    let mut uninit = 0;
    for line in dump.lines() {
        if let Some(rest) = line.strip_prefix("Group ") {
            let Some((n, rest)) = rest.split_once(": (Blocks ") else {
                continue; // "Group descriptor size"
            };
            let n: u32 = n.parse().unwrap();
            let desc = image.desc(n);
            group = Some((n, desc));
            seen += 1;
            let range = numbers(rest);
            assert_eq!(range[0], geo.group_first_block(n));
            assert_eq!(range[1] - range[0] + 1, geo.group_blocks(n).into());
            for (name, bit) in [
                ("INODE_UNINIT", group::INODE_UNINIT),
                ("BLOCK_UNINIT", group::BLOCK_UNINIT),
                ("ITABLE_ZEROED", group::INODE_ZEROED),
            ] {
                assert_eq!(line.contains(name), desc.flags & bit != 0, "{line}");
            }
            continue;
        }
        let Some((n, desc)) = &group else { continue };
        let line = line.trim();
        if line.contains("superblock at") {
            assert!(geo.group_has_super(*n), "{line}");
            if let Some(gdt) = line.split("Group descriptors at ").nth(1) {
                assert_eq!(numbers(gdt)[1] - numbers(gdt)[0] + 1, geo.gdt_blocks.into());
            }
        } else if let Some(rest) = line.strip_prefix("Block bitmap at ") {
            assert_eq!(numbers(rest)[0], desc.block_bitmap);
            if geo.has_metadata_csum {
                assert_eq!(csum(line), Some(desc.block_bitmap_csum), "{line}");
            }
        } else if let Some(rest) = line.strip_prefix("Inode bitmap at ") {
            assert_eq!(numbers(rest)[0], desc.inode_bitmap);
            if geo.has_metadata_csum {
                assert_eq!(csum(line), Some(desc.inode_bitmap_csum), "{line}");
            }
        } else if let Some(rest) = line.strip_prefix("Inode table at ") {
            assert_eq!(numbers(rest)[0], desc.inode_table);
        } else if line.contains(" free inodes, ") {
            let n4 = numbers(line);
            assert_eq!(n4[0], desc.free_blocks.into());
            assert_eq!(n4[1], desc.free_inodes.into());
            assert_eq!(n4[2], desc.used_dirs.into());
            assert_eq!(n4.get(3).copied().unwrap_or(0), desc.itable_unused.into());
        }
    }
    assert_eq!(seen, geo.groups_count);

    let metadata = |skip: Option<u32>| -> Vec<(u64, u32)> {
        (0..geo.groups_count)
            .filter(|g| Some(*g) != skip)
            .flat_map(|g| image.desc(g).metadata(geo))
            .collect()
    };
    for g in 0..geo.groups_count {
        let desc = image.desc(g);
        let mut map = image.block(desc.block_bitmap).to_vec();
        if desc.flags & group::BLOCK_UNINIT != 0 {
            uninit += 1;
            let free = group::initial_block_bitmap(geo, g, &mut map, metadata(None)).unwrap();
            assert_eq!(free, desc.free_blocks, "group {g}");
        } else {
            desc.check_bitmap(geo, g, Bitmap::Block, &map).unwrap();
        }
        let bits = geo.group_blocks(g) as usize;
        assert_eq!(bitmap::count_zeros(&map, bits), desc.free_blocks as usize);
        if geo.group_has_super(g) {
            let base = geo.group_base_blocks(g) as usize;
            assert_eq!(bitmap::next_zero(&map, 0, base), None, "group {g}");
        }

        let mut map = image.block(desc.inode_bitmap).to_vec();
        if desc.flags & group::INODE_UNINIT != 0 {
            group::initial_inode_bitmap(geo, &mut map);
        } else {
            desc.check_bitmap(geo, g, Bitmap::Inode, &map).unwrap();
        }
        let inodes = geo.inodes_per_group as usize;
        assert_eq!(bitmap::count_zeros(&map, inodes), desc.free_inodes as usize);
        // Writing it back changes nothing.
        let mut raw = image.desc_bytes(g).to_vec();
        desc.encode(&mut raw, geo, g).unwrap();
        assert_eq!(raw, image.desc_bytes(g));
    }
    if geo.has_gdt_csum || geo.has_metadata_csum {
        // mke2fs initializes the last group, and those with metadata or the journal in them.
        assert!(geo.groups_count < 4 || uninit > 0, "no uninitialized group");
    }
}

/// Reads the whole tree and compares it with its source.
fn check_tree(image: &Image) {
    let mut dirs = vec![(2, image.source())];
    let mut files = 0;
    while let Some((ino, path)) = dirs.pop() {
        let mut entries: BTreeMap<_, _> = image
            .read_dir(ino)
            .into_iter()
            .map(|(name, ino, ft)| (name, (ino, ft)))
            .collect();
        if ino == 2 {
            assert!(entries.remove(b"lost+found".as_slice()).is_some());
        }
        let mut expected = 0;
        for entry in fs::read_dir(&path).unwrap() {
            let entry = entry.unwrap();
            let name = entry.file_name().into_encoded_bytes();
            let (child, ft) = entries[&name];
            expected += 1;
            let meta = fs::symlink_metadata(entry.path()).unwrap();
            let inode = image.inode(child);
            assert_eq!(u32::from(inode.mode), meta.mode());
            assert_eq!((inode.uid, inode.gid), (meta.uid(), meta.gid()));
            assert_eq!(inode.mtime.sec, meta.mtime());
            assert_eq!(ft, dirent::ftype_for_mode(inode.mode, &image.geo));
            if !inode.is_dir() {
                assert_eq!(u64::from(inode.links), meta.nlink());
                assert_eq!(inode.size, meta.len());
            }
            if inode.is_dir() {
                dirs.push((child, entry.path()));
            } else if inode.is_fast_symlink(&image.geo) {
                let target = fs::read_link(entry.path()).unwrap();
                let target = target.into_os_string().into_encoded_bytes();
                assert_eq!(inode.fast_symlink().unwrap(), target);
                assert!(target.len() < 60);
            } else if inode.is_symlink() {
                let target = fs::read_link(entry.path()).unwrap();
                let target = target.into_os_string().into_encoded_bytes();
                assert_eq!(image.read_file(child, &inode), target);
                assert!(target.len() >= 60);
            } else {
                let content = fs::read(entry.path()).unwrap();
                assert!(image.read_file(child, &inode) == content, "{name:?}");
                files += 1;
            }
        }
        assert_eq!(entries.len(), expected, "{path:?}");
    }
    assert!(files > 300);
}

#[test]
fn shapes_agree_with_e2fsprogs() {
    for (name, opts, size) in SHAPES {
        println!("{name}");
        let mut image = Image::make(opts, size, tree);
        check_super(&image);
        check_groups(&image);
        check_tree(&image);
        image.optimize_dirs();
        if image.geo.features.has_compat(features::COMPAT_DIR_INDEX) {
            let many = image.inode(image.lookup("many"));
            assert!(many.has_flags(inode::flags::INDEX));
        }
        check_tree(&image);
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
        for (field, value) in [
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
        ] {
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
            assert_eq!(i.version & 0xffff_ffff, 0x1234_5678);
        }
        let word = |key: &str| -> u64 {
            let rest = stat.split(key).nth(1).unwrap_or_else(|| panic!("{key}"));
            rest.split_whitespace().next().unwrap().parse().unwrap()
        };
        assert_eq!(word("Blockcount:"), i.blocks);
        // Writing it back gives the same bytes, checksum included.
        let mut raw = image.raw_inode(ino).to_vec();
        i.encode(&mut raw, &image.geo, ino).unwrap();
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
        let end = superblock::MAX_FILE_BLOCKS;
        extent::check_block(node, &image.geo, seed, root.depth - 1, index.lblk, end)
    };
    check(&node).unwrap();
    for at in [0, 2, 4, 6, 12, 500, 1020] {
        node[at] ^= 0x40;
        assert!(check(&node).is_err(), "byte {at}");
        node[at] ^= 0x40;
    }
    extent::update_block_csum(&mut node, &image.geo, seed).unwrap();
    assert_eq!(node, image.block(index.pblk));
}

#[test]
fn orphan_files() {
    for bs in ["1024", "4096"] {
        let image = Image::make(&["-b", bs, "-O", "orphan_file"], "16M", |_| {});
        let geo = &image.geo;
        let ino = geo.orphan_file_inum;
        let inode = image.inode(ino);
        let seed = inode.csum_seed(geo, ino);
        let map = image.block_map(ino, &inode);
        assert!(!map.is_empty());
        for (_, pblk) in map {
            let mut block = image.block(pblk).to_vec();
            orphan::check_block(&block, geo, seed, pblk).unwrap();
            assert_eq!(orphan::find_free(&block, geo, 0), Some(0));
            // The checksum holds the block's own number.
            let moved = orphan::check_block(&block, geo, seed, pblk + 1);
            assert_eq!(moved, Err(Corrupt::OrphanChecksum));
            orphan::set_entry(&mut block, geo, 5, 12).unwrap();
            let stale = orphan::check_block(&block, geo, seed, pblk);
            assert_eq!(stale, Err(Corrupt::OrphanChecksum));
            orphan::update_csum(&mut block, geo, seed, pblk).unwrap();
            orphan::check_block(&block, geo, seed, pblk).unwrap();
            assert_eq!(orphan::entry(&block, geo, 5), Ok(12));
            for bad in [geo.first_ino - 1, geo.inodes_count + 1] {
                orphan::set_entry(&mut block, geo, 5, bad).unwrap();
                orphan::update_csum(&mut block, geo, seed, pblk).unwrap();
                let result = orphan::check_block(&block, geo, seed, pblk);
                assert_eq!(result, Err(Corrupt::OrphanInode));
            }
            orphan::set_entry(&mut block, geo, 5, 0).unwrap();
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
        assert_ne!(inode.file_acl, 0);
        let inside = xattr::inode_entries(image.raw_inode(ino), &image.geo, &inode).unwrap();
        let mut all: Vec<_> = inside.unwrap().map(|e| e.unwrap()).collect();
        let block = image.block(inode.file_acl);
        assert_eq!(xattr::check_block(block, &image.geo, inode.file_acl), Ok(1));
        all.extend(
            xattr::block_entries(block, &image.geo)
                .unwrap()
                .map(|e| e.unwrap()),
        );
        let mut names: Vec<_> = all
            .iter()
            .map(|e| {
                let name = String::from_utf8_lossy(e.name).into_owned();
                (
                    xattr::prefix(e.name_index).unwrap().to_string() + &name,
                    e.value.len(),
                )
            })
            .collect();
        names.sort();
        let expect = [("trusted.second", 5), ("user.large", 700), ("user.tiny", 1)];
        assert_eq!(names, expect.map(|(n, l)| (n.to_string(), l)));
        assert!(inode.is_reg() && !inode.is_fast_symlink(&image.geo));

        let mut copy = block.to_vec();
        xattr::set_refcount(&mut copy, &image.geo, inode.file_acl, 2).unwrap();
        assert_eq!(xattr::check_block(&copy, &image.geo, inode.file_acl), Ok(2));
        xattr::set_refcount(&mut copy, &image.geo, inode.file_acl, 1).unwrap();
        assert_eq!(copy, block);
        copy[1000] ^= 1;
        let changed = xattr::check_block(&copy, &image.geo, inode.file_acl);
        assert_eq!(changed.is_err(), image.geo.has_metadata_csum);
    }
}

/// What this code writes, e2fsck accepts: superblock, descriptors, bitmaps and inodes.
#[test]
fn written_metadata_is_clean() {
    for (name, opts, size) in SHAPES {
        println!("{name}");
        let mut image = Image::make(opts, size, tree);
        let geo = image.geo.clone();
        // Give away one block and one inode in the last group, then take them back, so that every
        // step of an allocation has been written by this code.
        let g = geo.groups_count - 1;
        let mut desc = image.desc(g);
        let metadata: Vec<_> = (0..geo.groups_count)
            .flat_map(|g| image.desc(g).metadata(&geo))
            .collect();
        let mut blocks = image.block(desc.block_bitmap).to_vec();
        if desc.flags & group::BLOCK_UNINIT != 0 {
            group::initial_block_bitmap(&geo, g, &mut blocks, metadata).unwrap();
            desc.flags &= !group::BLOCK_UNINIT;
        }
        let mut inodes = image.block(desc.inode_bitmap).to_vec();
        if desc.flags & group::INODE_UNINIT != 0 {
            group::initial_inode_bitmap(&geo, &mut inodes);
            desc.flags &= !group::INODE_UNINIT;
        }
        let bit = bitmap::next_zero(&blocks, 0, geo.group_blocks(g) as usize).unwrap();
        assert!(!bitmap::set(&mut blocks, bit));
        assert!(bitmap::clear(&mut blocks, bit));
        desc.set_bitmap_csum(
            &geo,
            Bitmap::Block,
            bitmap_csum(&geo, Bitmap::Block, &blocks).unwrap(),
        );
        desc.set_bitmap_csum(
            &geo,
            Bitmap::Inode,
            bitmap_csum(&geo, Bitmap::Inode, &inodes).unwrap(),
        );
        image.block_mut(desc.block_bitmap).copy_from_slice(&blocks);
        image.block_mut(desc.inode_bitmap).copy_from_slice(&inodes);
        let (block, off) = geo.desc_location(g);
        let raw = &mut image.block_mut(block)[off as usize..][..usize::from(geo.desc_size)];
        desc.encode(raw, &geo, g).unwrap();

        let ino = image.lookup("big");
        let mut inode = image.inode(ino);
        inode.mtime = Time {
            sec: 4_000_000_000,
            nsec: 123_456_789,
        };
        inode.uid = 70_000;
        image.put_inode(ino, &inode);

        let mut sb = image.raw_super();
        sb.set_wtime(1_800_000_000);
        sb.set_mounted(1_800_000_000);
        sb.update_checksum();
        image.data[1024..2048].copy_from_slice(zerocopy::IntoBytes::as_bytes(&sb));
        image.save();
        image.assert_clean();
        let stat = image.debugfs(&["stat big".into()]).remove(0);
        assert!(stat.contains("User: 70000"), "{stat}");
        run("dumpe2fs", &["-h", image.path().to_str().unwrap()], &[0]);
    }
}
