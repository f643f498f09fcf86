// SPDX-License-Identifier: GPL-2.0

//! The algorithms of block maps, with the blocks of pointers in memory, against a map of single
//! blocks.

use rext4_unit::{disk, targets::small_super};

#[allow(dead_code, unused_imports)]
#[path = "../../../../rust/fs/extent"]
mod extent {
    pub mod pointers;
    pub mod tree;
}
mod memory;
mod random;

use disk::block_map::{self, Way};
use disk::{features, Geometry, Lblk};
use extent::tree::Found;
use memory::{Failure, Memory};

/// A geometry of this block size.
fn geometry(block_bits: u32, huge_file: bool) -> Geometry {
    let mut raw = small_super(block_bits - 10);
    raw.set_ro_compat(features::RO_COMPAT_HUGE_FILE, huge_file);
    raw.update_checksum();
    Geometry::parse(&raw, 1 << 40).expect("a valid geometry")
}

/// Where each level begins, and the largest map: the way is what a division gives.
#[test]
fn ways_lead_to_their_blocks() {
    for bits in [10, 11, 12] {
        let per = 1u64 << (bits - 2);
        let starts = [0, 12, 12 + per, 12 + per + per * per];
        let end = starts[3] + per * per * per;
        let near = |at: u64| (at.saturating_sub(3)..at + 3).collect::<Vec<_>>();
        let mut all: Vec<u64> = starts.iter().flat_map(|at| near(*at)).collect();
        all.extend(near(end));
        all.extend((0..2000).map(|i| i * 7919 * 4099 % (end + 1000)));
        for lblk in all {
            let way = Way::new(Lblk::new(lblk as u32), bits);
            let level = starts.iter().rposition(|start| *start <= lblk).unwrap();
            if lblk >= end {
                assert_eq!(way, None, "{lblk} of {bits}");
                continue;
            }
            let way = way.unwrap();
            assert_eq!(way.height(), level as u32);
            let mut rel = lblk - starts[level];
            for array in (1..=level as u32).rev() {
                assert_eq!(u64::from(way.index(array)), rel % per, "{lblk} of {bits}");
                rel /= per;
                // Behind the last pointer of an array comes what the one above has next.
                let (above, i) = (array - 1, way.index(array - 1));
                assert_eq!(way.first(array, 0), way.first(above, i));
                assert_eq!(way.first(array, way.len(array)), way.first(above, i + 1));
            }
            let root = if level == 0 { lblk } else { 11 + level as u64 };
            assert_eq!(u64::from(way.index(0)), root);
            let last = way.height();
            assert_eq!(way.first(last, way.index(last)), Lblk::new(lblk as u32));
            assert!(way.end() > Lblk::new(lblk as u32));
        }
    }
}

/// The numbers that `ext4_max_bitmap_size()` gives.
#[test]
fn the_largest_files() {
    for (bits, huge_file, blocks) in [
        (10, false, 16_843_020),
        (10, true, 16_843_020),
        (11, false, 134_480_396),
        (11, true, 134_480_396),
        (12, false, 536_346_110),
        (12, true, 1_074_791_436),
    ] {
        let geo = geometry(bits, huge_file);
        assert_eq!(block_map::max_blocks(&geo), blocks, "{bits} {huge_file}");
        assert_eq!(block_map::max_size(&geo), blocks << bits);
    }
}

#[test]
fn the_height_of_a_map() {
    let mut root = [0u8; 60];
    assert_eq!(block_map::height(&root), 0);
    for (i, height) in [(0, 0), (11, 0), (12, 1), (13, 2), (14, 3)] {
        root[i * 4] = 7;
        assert_eq!(block_map::height(&root), height);
    }
}

#[test]
fn what_points_outside_is_refused() {
    let geo = geometry(12, true);
    let mut root = [0u8; 60];
    for i in 0..15 {
        root[i * 4..i * 4 + 4].copy_from_slice(&100u32.to_le_bytes());
        assert_eq!(block_map::check_root(&root, &geo), Ok(()));
        for bad in [geo.blocks_count as u32, u32::MAX] {
            root[i * 4..i * 4 + 4].copy_from_slice(&bad.to_le_bytes());
            let refused = Err(disk::Corrupt::MapBlock);
            assert_eq!(block_map::check_root(&root, &geo), refused);
        }
        root[i * 4..i * 4 + 4].fill(0);
    }
}

/// Whole files that others have made: runs at every border of a level, with gaps.
#[test]
fn lookups_see_what_is_there() {
    for bits in [10, 11, 12] {
        let per = 1u32 << (bits - 2);
        let mut map = Memory::new(bits);
        let starts = [0, 12, 12 + per, 12 + per + per * per];
        let mut pblk = 5000;
        for (n, start) in starts.iter().enumerate() {
            for run in [0, 7, 20, per - 3, 3 * per] {
                for lblk in start + run..start + run + 6 {
                    map.set(lblk, pblk);
                    pblk += 1 + u32::from(lblk as usize % 4 == n);
                }
            }
        }
        let last = starts[3] + per * per * per - 1;
        map.set(last, 77_777);
        for start in starts {
            for lblk in start.saturating_sub(20)..start + 4 * per {
                map.check_lookup(lblk);
            }
        }
        for lblk in [last - 1, last, last + 1, u32::MAX - 1] {
            map.check_lookup(lblk);
        }
        // From one answer to the next, without a gap.
        let (mut at, mut found) = (0, 0);
        while at < last {
            at = match map.lookup(at).unwrap() {
                Found::Extent(e) => {
                    found += e.len;
                    e.end().get()
                }
                Found::Hole { end, .. } => end.get(),
            };
        }
        assert_eq!(found as usize, map.model.len() - usize::from(at == last));
    }
}

/// Behind what the file system lets a file have nothing is mapped, whatever the pointers say.
#[test]
fn the_limit_holds() {
    let mut map = Memory::new(10);
    (0..12).for_each(|lblk| map.set(lblk, 100 + lblk));
    map.limit = 5;
    assert!(matches!(map.lookup(0), Ok(Found::Extent(e)) if e.len == 5));
    let end = Lblk::END;
    assert_eq!(map.lookup(5), Ok(Found::Hole { prev: None, end }));
}

#[test]
fn a_bad_pointer_is_found() {
    let mut map = Memory::new(10);
    map.set(20, 300);
    map.blocks.clear();
    assert!(matches!(map.lookup(20), Err(Failure::Corrupt(_))));
}

/// Other drivers leave blocks of pointers that are empty. They go with what is around them.
#[test]
fn empty_blocks_of_pointers_go() {
    for lblk in [20, 300, 70_000] {
        let mut map = Memory::new(10);
        map.set(lblk, 900);
        map.set(3, 901);
        for block in map.blocks.values_mut() {
            let at = block.chunks(4).position(|p| p == 900u32.to_le_bytes());
            if let Some(at) = at {
                block[4 * at..4 * at + 4].fill(0);
            }
        }
        map.model.remove(&lblk);
        assert!(!map.taken.is_empty());
        map.cut(0, u32::MAX, u32::MAX).unwrap();
        assert!(map.taken.is_empty() && map.root == [0; 60], "{lblk}");
    }
}

/// A run must not hold the block that has its own pointers.
#[test]
fn a_run_does_not_hold_its_pointers() {
    let mut map = Memory::new(10);
    map.set(12, 900);
    let own = map.taken.first().unwrap().get() as u32;
    map.set(12, own);
    let refused = Err(Failure::Corrupt(disk::Corrupt::MapBlock));
    assert_eq!(map.cut(0, u32::MAX, u32::MAX), refused);
}
