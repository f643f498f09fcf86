// SPDX-License-Identifier: GPL-2.0

//! Properties over generated structures: what is written is what is read, and every rule of a
//! structure is enforced.

use crate::image::{geometry, geometry_with};
use proptest::prelude::*;
use rext4_unit::disk::extent::{Extent, ExtentIndex, Header};
use rext4_unit::disk::group;
use rext4_unit::disk::*;
use rext4_unit::short::expected;
use rext4_unit::{encode_whole, inode_rest};

const INO: Ino = Ino::new(12);

fn raw_inode() -> impl Strategy<Value = Vec<u8>> {
    proptest::collection::vec(any::<u8>(), 256)
}

/// Bitmaps with long runs, as real ones have.
fn bitmap_bytes() -> impl Strategy<Value = Vec<u8>> {
    let byte = prop_oneof![2 => Just(0xffu8), 2 => Just(0), 1 => any::<u8>()];
    proptest::collection::vec((byte, 1usize..20), 1..8)
        .prop_map(|runs| runs.into_iter().flat_map(|(b, n)| vec![b; n]).collect())
}

fn time() -> impl Strategy<Value = Timestamp> {
    (
        time::MIN_SECONDS..=time::MAX_SECONDS_LARGE,
        0u32..1_000_000_000,
    )
        .prop_map(|(sec, nsec)| Timestamp { sec, nsec })
}

proptest! {
    /// Writing back what was read changes nothing but the checksum, whatever lies in the inode.
    #[test]
    fn inodes_survive(mut raw in raw_inode(), extra in 0u16..=32, csum: bool, bits64: bool) {
        let geo = geometry_with(1024, |r| {
            r.set_ro_compat(features::RO_COMPAT_METADATA_CSUM, csum);
            r.set_incompat(features::INCOMPAT_64BIT, bits64);
        });
        raw[0x80..0x82].copy_from_slice(&(extra * 4).to_le_bytes());
        // Values that are stored in one way only: see the tests below for the others.
        for at in [0x84, 0x88, 0x8c, 0x94] {
            raw[at + 3] &= 0x7f;
        }
        raw[0x22] &= !0x04; // HUGE_FILE
        let inode = InodeFields::decode(&raw, &geo).unwrap();
        let mut copy = raw.clone();
        encode_whole(&inode, &mut copy, &geo, INO).unwrap();
        prop_assert_eq!(&InodeFields::decode(&copy, &geo).unwrap(), &inode);
        // Every field is written, not only kept.
        let mut fresh = vec![0; 256];
        encode_whole(&inode, &mut fresh, &geo, INO).unwrap();
        prop_assert_eq!(&InodeFields::decode(&fresh, &geo).unwrap(), &inode);
        for field in [0x7c, 0x7d, 0x82, 0x83] {
            if csum {
                copy[field] = raw[field];
            }
        }
        prop_assert_eq!(copy, raw);
    }

    #[test]
    fn inode_checksums_notice_a_bit(
        raw in raw_inode(),
        extra in 0u16..=32,
        at in 0usize..256,
        bit in 0u8..8,
    ) {
        let geo = geometry(1024, true);
        let mut raw = raw;
        raw[0x80..0x82].copy_from_slice(&(extra * 4).to_le_bytes());
        {
            let (head, rest) = raw.split_at_mut(inode::head_size(&geo));
            inode::update_checksum(head, &geo, INO, |crc| rext4_unit::crc32c(crc, rest)).unwrap();
        }
        let matches = |raw: &[u8], ino| {
            inode::checksum_matches(&mut raw.to_vec(), &geo, ino, inode_rest(raw, &geo)).unwrap()
        };
        prop_assert!(matches(&raw, INO));
        prop_assert!(!matches(&raw, Ino::new(13)) || extra == 0);
        raw[at] ^= 1 << bit;
        // The size of the extra fields decides how the checksum is stored: not a plain bit error.
        if at != 0x80 && at != 0x81 {
            prop_assert!(!matches(&raw, INO), "byte {} bit {}", at, bit);
        }
    }

    #[test]
    fn times_round_trip(t in time()) {
        let (base, extra) = t.encode(true);
        prop_assert_eq!(Timestamp::decode(base, Some(extra)), t);
        let (base, _) = t.encode(false);
        let small = Timestamp::decode(base, None);
        prop_assert_eq!(small.sec, t.sec.min(i64::from(i32::MAX)));
        prop_assert_eq!(small.nsec, 0);
    }

    #[test]
    fn any_time_decodes_to_a_valid_one(base: u32, extra: u32) {
        let t = Timestamp::decode(base, Some(extra));
        prop_assert!(t.nsec < 1_000_000_000);
        prop_assert!((time::MIN_SECONDS..=time::MAX_SECONDS_LARGE).contains(&t.sec));
    }

    #[test]
    fn out_of_range_times_are_clamped(sec: i64, nsec: u32) {
        let (base, extra) = Timestamp { sec, nsec }.encode(true);
        let t = Timestamp::decode(base, Some(extra));
        prop_assert_eq!(t.sec, sec.clamp(time::MIN_SECONDS, time::MAX_SECONDS_LARGE));
    }

    /// i_blocks in its three forms.
    #[test]
    fn block_counts(
        blocks in prop_oneof![0u64..1 << 33, 0u64..1 << 48, 0u64..1 << 51],
        huge: bool,
    ) {
        let geo = geometry_with(4096, |r| r.set_ro_compat(features::RO_COMPAT_HUGE_FILE, huge));
        // Beyond 48 bits the unit is a filesystem block.
        let blocks = if blocks >= 1 << 48 { blocks & !7 } else { blocks };
        let inode = InodeFields { blocks, ..InodeFields::default() };
        let mut raw = vec![0; 256];
        let result = encode_whole(&inode, &mut raw, &geo, INO);
        let fits = if huge { true } else { blocks <= u64::from(u32::MAX) };
        prop_assert_eq!(result.is_ok(), fits);
        if fits {
            let back = InodeFields::decode(&raw, &geo).unwrap();
            prop_assert_eq!(back.blocks, blocks);
            prop_assert_eq!(back.has_flags(inode::flags::HUGE_FILE), blocks >= 1 << 48);
        }
    }

    #[test]
    fn devices_round_trip(major in 0u32..4096, minor in 0u32..1 << 20) {
        let mut inode = InodeFields::default();
        inode.set_device(major, minor);
        prop_assert_eq!(inode.device(), (major, minor));
    }

    #[test]
    fn symlinks_round_trip(target in proptest::collection::vec(1u8..=255, 0..80)) {
        let mut inode = InodeFields {
            mode: inode::S_IFLNK | 0o777,
            links: 1,
            ..InodeFields::default()
        };
        let fits = inode.set_fast_symlink(&target);
        prop_assert_eq!(fits, target.len() < 60);
        let geo = geometry(1024, true);
        prop_assert!(inode.is_fast_symlink(&geo));
        // The block of its attributes does not make it slow, any other one does.
        inode.file_acl = Some(Pblk::new(100));
        prop_assert!(!inode.is_fast_symlink(&geo));
        inode.blocks = 2;
        prop_assert!(inode.is_fast_symlink(&geo));
        inode.file_acl = None;
        prop_assert!(!inode.is_fast_symlink(&geo));
        inode.blocks = 0;
        if fits && !target.is_empty() {
            prop_assert_eq!(inode.fast_symlink().unwrap(), target.as_slice());
            inode.check(&geo).unwrap();
            inode.size += 1;
            prop_assert_eq!(inode.check(&geo), Err(Corrupt::InodeSymlink));
        }
    }

    /// Group descriptors of every size, with both checksums.
    #[test]
    fn descriptors_survive(
        raw in proptest::collection::vec(any::<u8>(), 128),
        size in prop_oneof![Just(32u16), Just(64), Just(128)],
        kind in 0u8..3,
        at in 0usize..128,
    ) {
        let geo = geometry_with(1024, |r| {
            r.set_incompat(features::INCOMPAT_64BIT, size != 32);
            r.desc_size.set(size);
            r.set_ro_compat(features::RO_COMPAT_METADATA_CSUM, kind == 1);
            r.set_ro_compat(features::RO_COMPAT_GDT_CSUM, kind == 2);
        });
        let mut raw = raw;
        raw.truncate(usize::from(size));
        let desc = GroupDesc::decode(&raw, &geo).unwrap();
        let mut copy = raw.clone();
        desc.encode(&mut copy, &geo, 3).unwrap();
        prop_assert_eq!(GroupDesc::decode(&copy, &geo).unwrap(), desc);
        // Every field is written, not only kept.
        let mut fresh = vec![0; raw.len()];
        desc.encode(&mut fresh, &geo, 3).unwrap();
        prop_assert_eq!(GroupDesc::decode(&fresh, &geo).unwrap(), desc);
        prop_assert!(group::checksum_matches(&copy, &geo, 3).unwrap());
        prop_assert!(kind == 0 || !group::checksum_matches(&copy, &geo, 2).unwrap());
        let mut same = copy.clone();
        same[0x1e..0x20].copy_from_slice(&raw[0x1e..0x20]);
        prop_assert_eq!(&same, &raw);
        if let Some(byte) = copy.get_mut(at) {
            *byte ^= 1;
            prop_assert_eq!(group::checksum_matches(&copy, &geo, 3).unwrap(), kind == 0);
        }
    }

    #[test]
    fn bitmaps_follow_a_model(
        bytes in bitmap_bytes(),
        start in 0usize..1100,
        len in 0usize..1100,
    ) {
        let bits: Vec<bool> = (0..bytes.len() * 8)
            .map(|n| bytes[n / 8] >> (n % 8) & 1 == 1)
            .collect();
        let end = start.saturating_add(len);
        let inside = start.min(bits.len())..end.min(bits.len());
        let zero = inside.clone().find(|&n| !bits[n]);
        prop_assert_eq!(bitmap::next_zero(&bytes, start, end), zero);
        let set = inside.clone().find(|&n| bits[n]);
        prop_assert_eq!(bitmap::next_set(&bytes, start, end), set);
        let zeros = bits.iter().take(len).filter(|b| !**b).count();
        prop_assert_eq!(bitmap::count_zeros(&bytes, len), zeros);

        let mut map = bytes.clone();
        let already = bitmap::set_range(&mut map, start, len);
        prop_assert_eq!(already, bits[inside.clone()].iter().filter(|b| **b).count());
        for (n, bit) in bits.iter().enumerate() {
            let now = map[n / 8] >> (n % 8) & 1 == 1;
            prop_assert_eq!(now, *bit || inside.contains(&n));
        }
    }

    #[test]
    fn extents_round_trip(
        lblk in any::<u32>().prop_map(Lblk::new),
        len in prop_oneof![0u32..40_000, 32_766u32..32_770],
        pblk in (0u64..1 << 48).prop_map(Pblk::new),
        unwritten: bool,
    ) {
        let mut node = vec![0; 60];
        extent::init_node(&mut node, 0, 4).unwrap();
        let e = Extent { lblk, len, pblk, unwritten };
        let max = if unwritten { 32_767 } else { 32_768 };
        let result = extent::put_extent(&mut node, 2, &e);
        prop_assert_eq!(result.is_ok(), (1..=max).contains(&len));
        if result.is_ok() {
            prop_assert_eq!(extent::extent_at(&node, 2).unwrap(), e);
        }
        let i = ExtentIndex { lblk, pblk };
        extent::put_index(&mut node, 3, &i).unwrap();
        prop_assert_eq!(extent::index_at(&node, 3).unwrap(), i);
    }

    /// Gaps in a node against a vector.
    #[test]
    fn nodes_follow_a_model(
        ops in proptest::collection::vec((any::<bool>(), 0u16..100, 0u16..5), 1..60),
    ) {
        let geo = geometry(1024, true);
        let max = extent::block_entries(&geo);
        let mut node = vec![0xff; 1024];
        extent::init_node(&mut node, 0, max).unwrap();
        let mut model: Vec<Extent> = Vec::new();
        let mut next = 1u64;
        for (add, at, count) in ops {
            let len = model.len() as u16;
            if add {
                let at = at % (len + 1);
                let result = extent::open_gap(&mut node, at, count);
                prop_assert_eq!(result.is_ok(), len + count <= max);
                if result.is_ok() {
                    for i in 0..count {
                        next += 1;
                        let (lblk, pblk) = (Lblk::new(7), Pblk::new(next));
                        let e = Extent { lblk, len: 1, pblk, unwritten: false };
                        extent::put_extent(&mut node, at + i, &e).unwrap();
                        model.insert(usize::from(at + i), e);
                    }
                }
            } else {
                let result = extent::close_gap(&mut node, at, count);
                prop_assert_eq!(result.is_ok(), at + count <= len);
                if result.is_ok() {
                    model.drain(usize::from(at)..usize::from(at + count));
                }
            }
            let h = Header::read(&node).unwrap();
            prop_assert_eq!(usize::from(h.entries), model.len());
            for (i, e) in model.iter().enumerate() {
                prop_assert_eq!(extent::extent_at(&node, i as u16).unwrap(), *e);
            }
        }
    }

    /// The same of entries that take the place of others. What is refused changes nothing.
    #[test]
    fn spliced_entries_follow_a_model(
        ops in proptest::collection::vec((0u16..100, 0u16..5, 0u32..16, 0u32..20), 1..60),
    ) {
        // Fewer than the block has room for.
        let max = 40;
        let mut node = vec![0xff; 1024];
        extent::init_node(&mut node, 0, max).unwrap();
        let mut model: Vec<Extent> = Vec::new();
        for (at, removed, added, long) in ops {
            let len = model.len() as u16;
            let at = at % (len + 1);
            let new: Vec<Extent> = (0..added).map(|i| Extent {
                lblk: Lblk::new(i),
                len: if long == 0 { 40_000 } else { long },
                pblk: Pblk::new(u64::from(at) << 40 | u64::from(long)),
                unwritten: false,
            }).collect();
            let before = node.clone();
            let result = extent::splice(&mut node, at..at + removed, &new);
            let fits = at + removed <= len && len - removed + added as u16 <= max;
            prop_assert_eq!(result.is_ok(), fits && (long > 0 || added == 0));
            if result.is_ok() {
                model.splice(usize::from(at)..usize::from(at + removed), new);
            } else {
                prop_assert_eq!(&node, &before);
            }
            prop_assert_eq!(usize::from(Header::read(&node).unwrap().entries), model.len());
            for (i, e) in model.iter().enumerate() {
                prop_assert_eq!(extent::extent_at(&node, i as u16).unwrap(), *e);
            }
        }
    }

    /// The entry that may map a block, against a scan.
    #[test]
    fn search_finds_the_entry(
        keys in proptest::collection::btree_set(0u32..1000, 0..84),
        lblk in 0u32..1000,
    ) {
        let mut node = vec![0; 1024];
        extent::init_node(&mut node, 1, 84).unwrap();
        extent::open_gap(&mut node, 0, keys.len() as u16).unwrap();
        for (i, &lblk) in keys.iter().enumerate() {
            let index = ExtentIndex { lblk: Lblk::new(lblk), pblk: Pblk::new(9) };
            extent::put_index(&mut node, i as u16, &index).unwrap();
        }
        let want = keys.iter().filter(|&&k| k <= lblk).count();
        let found = extent::search(&node, keys.len() as u16, Lblk::new(lblk)).unwrap();
        prop_assert_eq!(found, want as u16);
    }

    /// Extents that are in order and inside are accepted; one shifted over its neighbour, or out of
    /// the filesystem, is not.
    #[test]
    fn bad_extents_are_refused(
        lens in proptest::collection::vec((0u32..9, 1u32..9, any::<bool>()), 2..40),
        pick: usize,
    ) {
        let geo = geometry(1024, true);
        let mut node = vec![0; 1024];
        let n = lens.len() as u16;
        extent::init_node(&mut node, 0, extent::block_entries(&geo)).unwrap();
        extent::open_gap(&mut node, 0, n).unwrap();
        let mut lblk = 0;
        let mut all = Vec::new();
        for (i, &(gap, len, unwritten)) in lens.iter().enumerate() {
            let lblk_i = if i == 0 { 0 } else { lblk + gap };
            let pblk = Pblk::new(100 + u64::from(lblk_i));
            let e = Extent { lblk: Lblk::new(lblk_i), len, pblk, unwritten };
            extent::put_extent(&mut node, i as u16, &e).unwrap();
            lblk = lblk_i + len;
            all.push(e);
        }
        let (start, end) = (Lblk::FIRST, Lblk::new(lblk));
        let seal = |node: &mut Vec<u8>| extent::update_block_csum(node, &geo, 9).unwrap();
        seal(&mut node);
        let check = |node: &[u8], seed, place| extent::check_block(node, &geo, seed, place).err();
        let place = expected(0, start, end);
        prop_assert_eq!(check(&node, 9, place), None);
        prop_assert_eq!(check(&node, 8, place), Some(Corrupt::ExtentChecksum));
        prop_assert_eq!(check(&node, 9, expected(1, start, end)), Some(Corrupt::ExtentDepth));
        prop_assert_eq!(check(&node, 9, expected(0, start + 1, end)), Some(Corrupt::ExtentRange));
        let short = expected(0, start, Lblk::new(lblk - 1));
        prop_assert_eq!(check(&node, 9, short), Some(Corrupt::ExtentRange));
        let i = 1 + pick % (all.len() - 1);
        let mut overlap = all[i];
        overlap.lblk = all[i - 1].lblk;
        extent::put_extent(&mut node, i as u16, &overlap).unwrap();
        seal(&mut node);
        prop_assert_eq!(check(&node, 9, place), Some(Corrupt::ExtentOrder));
        let count = geo.blocks_count;
        for pblk in [0, 1, count, count - u64::from(all[i].len) + 1, (1 << 48) - 1] {
            let pblk = Pblk::new(pblk);
            extent::put_extent(&mut node, i as u16, &Extent { pblk, ..all[i] }).unwrap();
            seal(&mut node);
            prop_assert_eq!(check(&node, 9, place), Some(Corrupt::ExtentBlock));
        }
    }
}
