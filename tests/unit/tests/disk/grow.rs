// SPDX-License-Identifier: GPL-2.0

//! Growing: the steps lead to the target, and what new groups hold is in them, once.

use crate::image::geometry_with;
use proptest::prelude::*;
use rext4_unit::disk::grow::{GrowStep, SizeError};
use rext4_unit::disk::*;

fn shapes() -> Vec<Geometry> {
    let plain = |size| geometry_with(size, |_| ());
    let mut all = vec![plain(1024), plain(2048), plain(4096)];
    for log in [0, 2, 5] {
        all.push(geometry_with(1024, |r| r.log_groups_per_flex = log));
    }
    all.push(geometry_with(1024, |r| {
        r.set_incompat(features::INCOMPAT_FLEX_BG, false);
        r.set_ro_compat(features::RO_COMPAT_METADATA_CSUM, false);
    }));
    all.push(geometry_with(1024, |r| {
        r.set_ro_compat(features::RO_COMPAT_SPARSE_SUPER, false)
    }));
    // As large a reserve as there can be, behind the metadata of nothing else.
    for geo in &mut all {
        geo.reserved_gdt_blocks = 200;
    }
    all
}

/// What a step adds is in the groups it adds, and nothing is there twice.
fn check_groups(old: &Geometry, new: &Geometry, step: &GrowStep) {
    let mut descs = vec![GroupDesc::default(); step.groups.len()];
    new.place_groups(step.groups.clone(), &mut descs).unwrap();
    let start = old.blocks_count;
    let mut used = vec![false; (new.blocks_count - start) as usize];
    let mut take = |first: u64, len: u32, what: &str| {
        for block in first..first + u64::from(len) {
            let at = block.checked_sub(start).expect(what) as usize;
            assert!(!std::mem::replace(&mut used[at], true), "{what}: {block}");
        }
    };
    for group in step.groups.clone() {
        let base = new.group_base_blocks(group);
        take(new.group_first_block(group).get(), base, "copies");
    }
    for desc in &descs {
        for (first, len) in desc.metadata(new) {
            take(first, len, "metadata");
        }
    }
    for (group, desc) in step.groups.clone().zip(&descs) {
        desc.check(new, group).unwrap();
        let first = (new.group_first_block(group).get() - start) as usize;
        let blocks = new.group_blocks(group) as usize;
        let free = used[first..first + blocks].iter().filter(|used| !**used);
        assert_eq!(free.count() as u32, desc.free_blocks, "group {group}");
    }
    // Also after a step that is not the last: another may never come.
    let desc = descs.last().unwrap();
    assert_eq!(desc.flags & group::BLOCK_UNINIT, 0, "the last group");
}

proptest! {
    #[test]
    fn steps_lead_to_the_target(shape in 0usize..8, more in 1u64..400_000) {
        let mut geo = shapes().swap_remove(shape);
        let wanted = geo.blocks_count + more;
        let target = geo.growth_target(wanted).unwrap();
        prop_assert!(target <= wanted && wanted - target < u64::from(geo.blocks_per_group));
        let mut steps = 0;
        while let Some(step) = geo.next_step(target) {
            let new = geo.grown(step.blocks).unwrap();
            prop_assert!(new.blocks_count > geo.blocks_count);
            if step.groups.is_empty() {
                prop_assert_eq!(new.groups_count, geo.groups_count);
            } else {
                prop_assert_eq!(step.groups.start, geo.groups_count);
                prop_assert_eq!(step.groups.end, new.groups_count);
                prop_assert!(new.gdt_blocks - geo.gdt_blocks <= 1, "one block of descriptors");
                check_groups(&geo, &new, &step);
                prop_assert_eq!(new.shortened(geo.groups_count), geo.clone());
            }
            // Copies of the super block have as much in front of them as before.
            prop_assert_eq!(new.group_base_blocks(0), geo.group_base_blocks(0));
            geo = new;
            steps += 1;
        }
        prop_assert_eq!(geo.blocks_count, target);
        prop_assert!(steps < 1000);
    }
}

#[test]
fn copies_are_where_they_are() {
    for mut geo in shapes() {
        geo.groups_count = 3000;
        let all: Vec<u32> = geo.backups().collect();
        let want: Vec<u32> = (1..3000).filter(|&g| geo.group_has_super(g)).collect();
        assert_eq!(all, want);
    }
    let mut geo = geometry_with(1024, |r| r.set_compat(features::COMPAT_SPARSE_SUPER2, true));
    geo.groups_count = 100;
    geo.backup_groups = [1, 99];
    assert_eq!(geo.backups().collect::<Vec<u32>>(), [1, 99]);
    geo.backup_groups = [0, 0];
    assert_eq!(geo.backups().count(), 0);
}

#[test]
fn sizes_that_cannot_be() {
    let geo = geometry_with(1024, |_| ());
    let blocks = geo.blocks_count;
    assert_eq!(geo.grown(blocks - 1), Err(SizeError::Smaller));
    assert_eq!(geo.growth_target(blocks), Ok(blocks));
    assert_eq!(geo.next_step(blocks), None);
    assert_eq!(geo.grown(u64::MAX), Err(SizeError::TooLarge));
    let mut bare = geo.clone();
    bare.reserved_gdt_blocks = 0;
    let full = u64::from(bare.descs_per_block()) * u64::from(bare.blocks_per_group);
    assert!(bare.grown(full).is_ok());
    assert_eq!(bare.grown(full + 2), Err(SizeError::NoDescriptors));
    // A group that is too short for its own metadata.
    let end = bare.group_first_block(bare.groups_count).get();
    assert_eq!(bare.growth_target(end + 10), Ok(end));
}

/// What a crafted superblock says of blocks for the superuser is as wrong afterwards, and no more.
#[test]
fn counts_that_cannot_be_do_not_overflow() {
    let geo = geometry_with(1024, |_| ());
    let mut size = superblock::SizeFields {
        blocks: geo.blocks_count,
        root_blocks: u64::MAX,
        free_blocks: u64::MAX,
        inodes: geo.inodes_count,
        free_inodes: u32::MAX,
        reserved_gdt_blocks: geo.reserved_gdt_blocks,
        overhead: u32::MAX,
    };
    let grown = geo.grown(geo.blocks_count * 3).unwrap();
    assert!(grown.groups_count > geo.groups_count);
    size.grow(&grown, 1000);
    assert_eq!((size.root_blocks, size.free_blocks), (u64::MAX, u64::MAX));
}
