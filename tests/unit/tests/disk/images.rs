// SPDX-License-Identifier: GPL-2.0

//! Whole images in many shapes: what dumpe2fs and debugfs say is what this code reads.

use crate::image::{run, Image};
use rext4_unit::disk::features::{FeatureName, Features};
use rext4_unit::disk::group::{self, bitmap_csum, BitmapKind};
use rext4_unit::disk::*;
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{symlink, MetadataExt, PermissionsExt};
use std::path::Path;

/// Name, options of mke2fs, size.
const SHAPES: &[(&str, &[&str], &str)] = &[
    ("as the machine makes them", &["-T", "default"], "40M"),
    (
        "as e2fsprogs 1.47 makes them",
        &["-O", "metadata_csum_seed,orphan_file"],
        "40M",
    ),
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

/// As `number`, of what dumpe2fs shows only where it is not as usual.
fn number_or(dump: &str, key: &str, usual: u64) -> u64 {
    field(dump, key).map_or(usual, |v| v.parse().unwrap())
}

fn check_super(image: &Image) {
    let dump = image.dumpe2fs();
    let geo = &image.geo;
    let raw = image.raw_super();
    for (key, value) in [
        ("Inode count", geo.inodes_count.into()),
        ("Block count", geo.blocks_count),
        ("Free blocks", raw.free_blocks_count_lo.get().into()),
        ("Free inodes", raw.free_inodes_count.get().into()),
        ("Reserved block count", raw.reserved_blocks_count()),
        ("First block", geo.first_data_block.into()),
        ("Block size", geo.block_size.into()),
        ("Blocks per group", geo.blocks_per_group.into()),
        ("Inodes per group", geo.inodes_per_group.into()),
        ("Inode blocks per group", geo.itable_blocks.into()),
        ("First inode", geo.first_ino.into()),
        ("Inode size", geo.inode_size.into()),
    ] {
        assert_eq!(number(&dump, key), value, "{key}");
    }
    let per_flex = 1 << geo.log_groups_per_flex;
    for (key, usual, value) in [
        ("Reserved GDT blocks", 0, geo.reserved_gdt_blocks.into()),
        ("Group descriptor size", 32, geo.desc_size.into()),
        ("Flex block group size", 1, per_flex),
    ] {
        assert_eq!(number_or(&dump, key, usual), value, "{key}");
    }
    let inode = |name| field(&dump, name).map(|v| Ino::new(v.parse().unwrap()));
    assert_eq!(geo.journal_inum, inode("Journal inode"));
    assert_eq!(geo.orphan_file_inum, inode("Orphan file inode"));
    let signed = field(&dump, "Filesystem flags")
        .unwrap()
        .contains("unsigned");
    assert_eq!(geo.hash_unsigned, signed);
    let dumped = field(&dump, "Filesystem features").unwrap();
    check_features(&geo.features, dumped);
}

/// Every feature that has a say in the mount has the name dumpe2fs gives it.
fn check_features(features: &Features, dumped: &str) {
    let mut ours = Vec::new();
    for bit in 0..32 {
        for (word, name) in [
            (features.incompat, FeatureName::incompat(1 << bit)),
            (features.ro_compat, FeatureName::ro_compat(1 << bit)),
        ] {
            if word & (1 << bit) != 0 {
                ours.push(name.unwrap().to_string());
            }
        }
    }
    let compat = [
        "has_journal",
        "ext_attr",
        "resize_inode",
        "dir_index",
        "fast_commit",
        "stable_inodes",
        "orphan_file",
        "sparse_super2",
    ];
    let mut theirs: Vec<&str> = dumped
        .split_whitespace()
        .filter(|name| !compat.contains(name))
        .collect();
    ours.sort_unstable();
    theirs.sort_unstable();
    assert_eq!(ours, theirs);
    assert_eq!(features.unknown_ro_compat(), 0);
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

/// Checks what dumpe2fs says of every group, and every bitmap. Returns how many groups have no
/// block bitmap yet.
fn check_groups(image: &Image) -> u32 {
    let mut group = None;
    let mut seen = 0;
    for line in image.dumpe2fs().lines() {
        if let Some(rest) = line.strip_prefix("Group ") {
            let Some((n, rest)) = rest.split_once(": (Blocks ") else {
                continue; // "Group descriptor size"
            };
            let n: u32 = n.parse().unwrap();
            let desc = image.desc(n);
            check_group_head(image, n, &desc, (line, rest));
            group = Some((n, desc));
            seen += 1;
        } else if let Some((n, desc)) = &group {
            check_group_line(image, *n, desc, line.trim());
        }
    }
    assert_eq!(seen, image.geo.groups_count);
    let all = 0..image.geo.groups_count;
    all.map(|g| u32::from(check_bitmaps(image, g))).sum()
}

/// The first line of a group: its blocks, from `rest` on, and its flags.
fn check_group_head(image: &Image, n: u32, desc: &GroupDesc, (line, rest): (&str, &str)) {
    let range = numbers(rest);
    assert_eq!(range[0], image.geo.group_first_block(n).get());
    assert_eq!(range[1] - range[0] + 1, image.geo.group_blocks(n).into());
    for (name, bit) in [
        ("INODE_UNINIT", group::INODE_UNINIT),
        ("BLOCK_UNINIT", group::BLOCK_UNINIT),
        ("ITABLE_ZEROED", 0x0004),
    ] {
        assert_eq!(line.contains(name), desc.flags & bit != 0, "{line}");
    }
}

/// One of the lines that follow it.
fn check_group_line(image: &Image, n: u32, desc: &GroupDesc, line: &str) {
    let geo = &image.geo;
    if line.contains("superblock at") {
        assert!(geo.group_has_super(n), "{line}");
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

/// A group's bitmaps, and its descriptor written anew. Returns whether it has no block bitmap yet.
fn check_bitmaps(image: &Image, g: u32) -> bool {
    let geo = &image.geo;
    let desc = image.desc(g);
    let mut map = image.block(desc.block_bitmap).to_vec();
    let uninit = desc.flags & group::BLOCK_UNINIT != 0;
    if uninit {
        let metadata = (0..geo.groups_count).flat_map(|g| image.desc(g).metadata(geo));
        let metadata: Vec<(u64, u32)> = metadata.collect();
        let free = group::initial_block_bitmap(geo, g, &mut map, metadata).unwrap();
        assert_eq!(free, desc.free_blocks, "group {g}");
    } else {
        desc.check_bitmap(geo, g, BitmapKind::Block, &map).unwrap();
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
        desc.check_bitmap(geo, g, BitmapKind::Inode, &map).unwrap();
    }
    let inodes = geo.inodes_per_group as usize;
    assert_eq!(bitmap::count_zeros(&map, inodes), desc.free_inodes as usize);
    // Writing it back changes nothing.
    let mut raw = image.desc_bytes(g).to_vec();
    desc.encode(&mut raw, geo, g).unwrap();
    assert_eq!(raw, image.desc_bytes(g));
    uninit
}

/// Reads the whole tree and compares it with its source.
fn check_tree(image: &Image) {
    let mut dirs = vec![(Ino::ROOT, image.source())];
    let mut files = 0;
    while let Some((ino, path)) = dirs.pop() {
        let mut entries: BTreeMap<_, _> = image
            .read_dir(ino)
            .into_iter()
            .map(|(name, ino, ft)| (name, (ino, ft)))
            .collect();
        if ino == Ino::ROOT {
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
    let mut uninit = 0;
    for (name, opts, size) in SHAPES {
        println!("{name}");
        let mut image = Image::make(opts, size, tree);
        check_super(&image);
        uninit += check_groups(&image);
        check_tree(&image);
        image.optimize_dirs();
        if image.geo.features.has_compat(features::COMPAT_DIR_INDEX) {
            let many = image.inode(image.lookup("many"));
            assert!(many.has_flags(inode::flags::INDEX));
        }
        check_tree(&image);
    }
    assert!(uninit > 5, "{uninit} uninitialized groups");
}

/// Gives away one block and one inode in the last group, then takes them back, so that every step
/// of an allocation has been written by this code.
fn allocate_and_free(image: &mut Image) {
    let geo = image.geo.clone();
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
    assert_eq!(bitmap::set_range(&mut blocks, bit, 1), 0);
    blocks[bit / 8] &= !(1 << (bit % 8));
    for (which, bytes) in [(BitmapKind::Block, &blocks), (BitmapKind::Inode, &inodes)] {
        let crc = bitmap_csum(&geo, which, bytes).unwrap();
        desc.set_bitmap_csum(&geo, which, crc);
    }
    image.block_mut(desc.block_bitmap).copy_from_slice(&blocks);
    image.block_mut(desc.inode_bitmap).copy_from_slice(&inodes);
    let (block, off) = geo.desc_location(g);
    let raw = &mut image.block_mut(block)[off as usize..][..usize::from(geo.desc_size)];
    desc.encode(raw, &geo, g).unwrap();
}

/// What this code writes, e2fsck accepts: superblock, descriptors, bitmaps and inodes.
#[test]
fn written_metadata_is_clean() {
    for (name, opts, size) in SHAPES {
        println!("{name}");
        let mut image = Image::make(opts, size, tree);
        allocate_and_free(&mut image);

        let ino = image.lookup("big");
        let mut inode = image.inode(ino);
        inode.mtime = Timestamp {
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
