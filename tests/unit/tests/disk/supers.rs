// SPDX-License-Identifier: GPL-2.0

//! Superblocks that must be refused, each for its own reason.

use crate::image::{geometry, geometry_with, Image};
use rext4_unit::disk::features::FeatureName;
use rext4_unit::disk::superblock::{ErrorPolicy, SbError};
use rext4_unit::disk::*;
use zerocopy::IntoBytes;

fn parse_with(image: &Image, change: impl FnOnce(&mut RawSuper)) -> Result<Geometry, SbError> {
    let mut raw = image.raw_super();
    change(&mut raw);
    raw.update_checksum();
    Geometry::parse(&raw, image.data.len() as u64)
}

type Change = fn(&mut RawSuper);

#[test]
fn bad_superblocks_are_refused() {
    let image = Image::make(&["-b", "1024"], "40M", |_| {});
    assert!(parse_with(&image, |_| {}).is_ok());

    let mut raw = image.raw_super();
    raw.mnt_count.set(99);
    assert_eq!(Geometry::parse(&raw, 40 << 20), Err(SbError::Checksum));

    let cases: &[(Change, SbError)] = &[
        (|r| r.magic.set(0xef52), SbError::BadMagic),
        (|r| r.checksum_type = 2, SbError::ChecksumType(2)),
        (|r| r.log_block_size.set(6), SbError::BlockSize(6)),
        (
            |r| r.log_block_size.set(u32::MAX),
            SbError::BlockSize(u32::MAX),
        ),
        (
            |r| r.blocks_count_lo.set(40961),
            SbError::Truncated {
                blocks: 40961,
                device_blocks: 40960,
            },
        ),
        (
            |r| r.blocks_count_hi.set(1),
            SbError::Truncated {
                blocks: (1 << 32) + 40960,
                device_blocks: 40960,
            },
        ),
    ];
    for (change, error) in cases {
        assert_eq!(parse_with(&image, change), Err(*error));
    }
    for size in [0, 1024, 2048, (40 << 20) - 1] {
        let result = Geometry::parse(&image.raw_super(), size);
        assert!(matches!(result, Err(SbError::Truncated { .. })));
    }
}

#[test]
fn bad_geometries_are_refused() {
    let image = Image::make(&["-b", "1024"], "40M", |_| {});
    let changes: &[Change] = &[
        |r| r.rev_level.set(2),
        |r| r.log_cluster_size.set(1),
        |r| r.blocks_per_group.set(0),
        |r| r.blocks_per_group.set(8193),
        |r| r.blocks_per_group.set(u32::MAX),
        |r| r.clusters_per_group.set(8184),
        |r| r.first_data_block.set(0),
        |r| r.first_data_block.set(2),
        |r| r.blocks_count_lo.set(1),
        |r| r.blocks_count_lo.set(0),
        |r| r.inode_size.set(0),
        |r| r.inode_size.set(384),
        |r| r.inode_size.set(2048),
        |r| r.inodes_per_group.set(0),
        |r| r.inodes_per_group.set(4),
        |r| r.inodes_per_group.set(u32::MAX),
        |r| r.inodes_count.set(0),
        |r| r.inodes_count.set(r.inodes_count.get() + 1),
        |r| r.first_ino.set(5),
        |r| r.first_ino.set(u32::MAX),
        |r| r.desc_size.set(0),
        |r| r.desc_size.set(96),
        |r| r.desc_size.set(32),
        |r| r.reserved_gdt_blocks.set(257),
        |r| r.want_extra_isize.set(200),
        |r| r.min_extra_isize.set(129),
        |r| r.def_hash_version = 6,
        |r| r.log_groups_per_flex = 32,
        |r| r.journal_inum.set(u32::MAX),
        |r| {
            r.feature_compat
                .set(r.feature_compat.get() | features::COMPAT_ORPHAN_FILE);
            r.orphan_file_inum.set(0);
        },
    ];
    for (n, change) in changes.iter().enumerate() {
        let result = parse_with(&image, change);
        assert!(
            matches!(result, Err(SbError::Geometry(_))),
            "case {n}: {result:?}"
        );
    }
}

/// Any incompat bit that is not implemented refuses, by its name; any ro_compat bit only forbids
/// writing.
#[test]
fn unknown_features() {
    let image = Image::make(&["-b", "1024"], "16M", |_| {});
    for bit in 0..32 {
        let mask = 1u32 << bit;
        let result = parse_with(&image, |r| r.set_incompat(mask, true));
        if features::INCOMPAT_SUPPORTED & mask != 0 {
            assert!(result.is_ok(), "bit {bit}");
        } else {
            assert_eq!(result, Err(SbError::Incompat(mask)));
            let text = SbError::Incompat(mask).to_string();
            assert!(
                text.contains(&FeatureName::incompat(mask).unwrap().to_string()),
                "{text}"
            );
        }
        let result = parse_with(&image, |r| r.set_ro_compat(mask, true));
        let geo = result.unwrap_or_else(|e| panic!("ro_compat bit {bit}: {e}"));
        let known = features::RO_COMPAT_SUPPORTED & mask != 0;
        assert_eq!(geo.features.unknown_ro_compat() == 0, known, "bit {bit}");
        assert_eq!(geo.features.first_unknown_ro_compat().is_none(), known);
        assert!(parse_with(&image, |r| {
            // The orphan file feature names an inode.
            r.orphan_file_inum.set(12);
            r.feature_compat.set(r.feature_compat.get() | mask);
        })
        .is_ok());
    }
    let name = |bits| FeatureName::incompat(bits).map(|name| name.to_string());
    assert_eq!(name(0x1_0000).as_deref(), Some("encrypt"));
    assert_eq!(name(1 << 5).as_deref(), Some("FEATURE_I5"));
    assert_eq!(name(1 << 30).as_deref(), Some("FEATURE_I30"));
    assert_eq!(name(0), None);
}

#[test]
fn groups_with_backups() {
    let sparse = geometry(1024, true);
    let with: Vec<u32> = (0..1000).filter(|&g| sparse.group_has_super(g)).collect();
    assert_eq!(
        with,
        [0, 1, 3, 5, 7, 9, 25, 27, 49, 81, 125, 243, 343, 625, 729]
    );
    let all = geometry_with(1024, |r| {
        r.set_ro_compat(features::RO_COMPAT_SPARSE_SUPER, false)
    });
    assert!((0..1000).all(|g| all.group_has_super(g)));
    let two = geometry_with(1024, |r| {
        r.feature_compat.set(features::COMPAT_SPARSE_SUPER2);
        r.backup_bgs[0].set(1);
        r.backup_bgs[1].set(3);
    });
    let with: Vec<u32> = (0..1000).filter(|&g| two.group_has_super(g)).collect();
    assert_eq!(with, [0, 1, 3]);
    assert!(!sparse.group_has_super(u32::MAX));
}

/// The sizes of Documentation/filesystems/ext4/overview: 2^32 - 1 blocks with huge_file, else what
/// 32 bits of 512-byte units hold.
#[test]
fn largest_files() {
    let huge = |bs| geometry_with(bs, |_| {}).max_file_size;
    assert_eq!(huge(1024), ((1 << 32) - 1) << 10);
    assert_eq!(huge(4096), ((1 << 32) - 1) << 12);
    let small = |bs| {
        geometry_with(bs, |r| {
            r.set_ro_compat(features::RO_COMPAT_HUGE_FILE, false)
        })
        .max_file_size
    };
    assert_eq!(small(1024), ((u64::from(u32::MAX)) >> 1) << 10);
    assert_eq!(small(4096), ((u64::from(u32::MAX)) >> 3) << 12);
}

#[test]
fn advice_to_check() {
    let mut raw = Image::make(&["-b", "4096"], "16M", |_| {}).raw_super();
    raw.max_mnt_count.set(0xffff);
    raw.checkinterval.set(0);
    assert_eq!(raw.check_advice(u64::MAX), None);
    let has = |raw: &superblock::RawSuper, sec, what: &str| {
        let advice = raw.check_advice(sec);
        assert!(advice.is_some_and(|a| a.contains(what)), "{advice:?}");
    };
    raw.checkinterval.set(100);
    raw.lastcheck.set(1000);
    assert_eq!(raw.check_advice(1099), None);
    has(&raw, 1100, "too long ago");
    raw.max_mnt_count.set(20);
    raw.mnt_count.set(19);
    assert_eq!(raw.check_advice(1099), None);
    raw.mnt_count.set(20);
    has(&raw, 1099, "mount count");
    raw.update_state(superblock::STATE_ERROR, 0);
    has(&raw, 0, "errors");
    raw.update_state(0, superblock::STATE_VALID);
    has(&raw, 0, "cleanly");
}

/// Records two errors, then a third. The mark of the newest is kept: an older one does not replace
/// it, and it comes back where the record was lost.
fn record_errors(raw: &mut RawSuper) {
    let code = superblock::error_code::EFSCORRUPTED;
    let older = raw.error_mark();
    let error = |sec, ino, func| superblock::FoundError {
        sec,
        ino: Ino::from_disk(ino),
        func,
        line: 7,
        code,
    };
    let (first, last) = (error(1000, 14, "first_function"), error(1500, 14, "second"));
    raw.record_errors(&first, &last, 2);
    let newer = raw.error_mark();
    let long = "long_".repeat(20);
    raw.record_errors(&error(2000, 15, &long), &error(2000, 15, &long), 1);
    let newest = raw.error_mark();
    assert!(!raw.keep_error_mark(&older) && raw.error_mark() == newest);
    raw.error_count.set(0);
    raw.update_state(0, superblock::STATE_ERROR);
    assert!(raw.keep_error_mark(&newest) && raw.error_mark() == newest);
    assert!(newest.is_set() && newest != newer && newer != older);
}

#[test]
fn changes_show_in_dumpe2fs() {
    let mut image = Image::make(&["-b", "4096"], "16M", |_| {});
    let mut raw = image.raw_super();
    let free = u64::from(raw.free_blocks_count_lo.get());
    raw.set_free_blocks_count(free - 1);
    raw.set_free_inodes_count(raw.free_inodes_count.get() - 2);
    raw.update_state(superblock::STATE_ERROR, superblock::STATE_VALID);
    raw.set_wtime(0x1_0000_0000);
    assert_eq!((raw.wtime.get(), raw.wtime_hi), (0, 1));
    raw.set_wtime(86_399);
    raw.set_mounted(3 << 32);
    assert_eq!((raw.mtime.get(), raw.mtime_hi), (0, 3));
    raw.mnt_count.set(0);
    raw.set_mounted(86_400);
    record_errors(&mut raw);
    raw.update_checksum();
    assert!(raw.checksum_matches());
    image.data[1024..2048].copy_from_slice(raw.as_bytes());
    let orphan = Some(Ino::new(13));
    for (from, to) in [(None, orphan), (orphan, orphan)] {
        let changed = RawSuper::change_last_orphan(&mut image.data, 1024, |_| to);
        assert_eq!(changed, Ok(from));
    }
    image.save();
    image.reload();
    assert!(image.raw_super().checksum_matches());
    assert_eq!(image.raw_super().last_orphan(), orphan);
    assert_eq!(
        image.geo.state & superblock::STATE_ERROR,
        superblock::STATE_ERROR
    );
    let dump = image.dumpe2fs();
    for line in [
        format!("Free blocks:              {}", free - 1),
        "First orphan inode:       13".into(),
        "Last write time:          Thu Jan  1 23:59:59 1970".into(),
        "Last mount time:          Fri Jan  2 00:00:00 1970".into(),
        "Mount count:              1".into(),
        "FS Error count:           3".into(),
        "First error time:         Thu Jan  1 00:16:40 1970".into(),
        "First error function:     first_function".into(),
        "First error inode #:      14".into(),
        "First error line #:       7".into(),
        "Last error time:          Thu Jan  1 00:33:20 1970".into(),
        "Last error inode #:       15".into(),
    ] {
        assert!(dump.contains(&line), "no {line:?} in\n{dump}");
    }
}

#[test]
fn policies_for_errors() {
    let policy = |n| geometry_with(1024, |r| r.errors.set(n)).errors;
    assert_eq!(policy(1), ErrorPolicy::Continue);
    assert_eq!(policy(2), ErrorPolicy::RemountRo);
    assert_eq!(policy(3), ErrorPolicy::Panic);
    assert_eq!(policy(9), ErrorPolicy::RemountRo);
}

/// The edges of what may be pointed to.
#[test]
fn ranges_end_where_the_filesystem_ends() {
    let geo = geometry(1024, true);
    let count = geo.blocks_count;
    assert!(geo.blocks_valid(Pblk::new(2), count - 2));
    assert!(geo.blocks_valid(Pblk::new(count - 1), 1));
    assert!(!geo.blocks_valid(Pblk::new(2), count - 1));
    assert!(!geo.blocks_valid(Pblk::new(count), 1));
    assert!(!geo.blocks_valid(Pblk::new(1), 1), "the superblock");
    assert!(!geo.blocks_valid(Pblk::new(5), 0));
    assert!(!geo.blocks_valid(Pblk::new(u64::MAX), 2));
    assert_eq!(geo.block_group(Pblk::new(count)), None);
    assert_eq!(geo.block_group(Pblk::new(0)), None);
    assert_eq!(geo.block_group(Pblk::new(1)), Some((0, 0)));
    assert_eq!(geo.block_group(Pblk::new(count - 1)), Some((3, 8191)));
    let valid: Vec<u32> = (0..20).filter(|&i| geo.inode_valid(Ino::new(i))).collect();
    assert_eq!(valid, [2, 11, 12, 13, 14, 15, 16, 17, 18, 19]);
    let (last, beyond) = (Ino::new(geo.inodes_count), Ino::new(geo.inodes_count + 1));
    assert!(geo.inode_valid(last) && !geo.inode_valid(beyond));
    assert!(geo.inode_exists(last) && !geo.inode_exists(beyond) && !geo.inode_exists(Ino::new(0)));
    assert_eq!(geo.inode_group(Ino::new(0)), None);
    assert_eq!(geo.inode_group(last), Some((3, 2047)));
    assert_eq!(geo.inode_group(beyond), None);
}

/// Without a flag that says so names are hashed as unsigned, as the kernel of today does; inodes
/// of another system have no checksum.
#[test]
fn flags_of_old_filesystems() {
    let unsigned = |n| geometry_with(1024, |r| r.flags.set(n)).hash_unsigned;
    assert_eq!([unsigned(0), unsigned(1), unsigned(2)], [true, false, true]);
    let os = |n| geometry_with(1024, |r| r.creator_os.set(n)).has_inode_csum;
    assert_eq!([os(0), os(1)], [true, false]);
    assert!(!geometry(1024, false).has_inode_csum);
}
