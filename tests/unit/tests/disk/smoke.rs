// SPDX-License-Identifier: GPL-2.0

//! The fuzz targets on the stable toolchain: real structures of many images, a few bytes changed at
//! random, given to every parser. Nothing may panic, and what is accepted must be consistent.
//! `REXT4_FUZZ_ITERATIONS` sets how many inputs each target gets, `REXT4_FUZZ_CORPUS` a directory
//! the unchanged inputs are written to, for the fuzzer.

use crate::image::Image;
use rext4_unit::disk::Ino;
use rext4_unit::targets::{self, TARGETS};
use std::fs;

/// A small generator with a fixed start: a failure can be repeated.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, n: usize) -> usize {
        (self.next() % n.max(1) as u64) as usize
    }
}

/// Changes a few places: bits, bytes, extreme words, copies of other parts, the length.
fn mutate(data: &mut Vec<u8>, r: &mut Random) {
    for _ in 0..1 + r.below(6) {
        let at = r.below(data.len());
        match r.below(7) {
            0 => data[at] ^= 1 << r.below(8),
            1 => data[at] = r.next() as u8,
            2 | 3 => {
                let extremes = [0u32, 1, 0x7fff_ffff, 0x8000_0000, u32::MAX, 0xffff, 0x8000];
                let word = extremes[r.below(extremes.len())].to_le_bytes();
                let len = 1 + r.below(4);
                for (to, from) in data[at..].iter_mut().zip(word).take(len) {
                    *to = from;
                }
            }
            4 => {
                let from = r.below(data.len());
                let len = r.below(64).min(data.len() - at.max(from));
                data.copy_within(from..from + len, at);
            }
            5 => {
                // Headers lie at the start.
                let at = r.below(64.min(data.len()));
                data[at] = r.next() as u8;
            }
            _ => {
                if r.below(20) == 0 {
                    data.truncate(at);
                    if data.is_empty() {
                        data.push(0);
                    }
                }
            }
        }
    }
}

/// Blocks of every kind from real images, each behind the first byte that chooses the geometry the
/// target reads it with.
fn seeds() -> Vec<Vec<u8>> {
    let mut out = Vec::new();
    for (opts, geometry) in [
        (&["-b", "1024", "-O", "orphan_file"][..], 0u8),
        (&["-b", "4096", "-O", "^metadata_csum"][..], 6),
    ] {
        let mut image = Image::make(opts, "16M", |dir| {
            fs::create_dir(dir.join("d")).unwrap();
            for i in 0..700 {
                fs::write(dir.join(format!("d/{i}-{}", "n".repeat(i % 40))), b"").unwrap();
            }
            let mut data = vec![0u8; 3_000_000];
            for at in (0..data.len()).step_by(8192) {
                data[at] = 1;
            }
            fs::write(dir.join("holes"), data).unwrap();
        });
        image.optimize_dirs();
        let value = image.source().join("value");
        fs::write(&value, vec![b'L'; 700]).unwrap();
        image.debugfs_write(&format!("ea_set -f {} holes user.large", value.display()));
        image.debugfs_write("ea_set holes user.tiny v");
        let mut add = |bytes: &[u8]| {
            let mut seed = vec![geometry];
            seed.extend_from_slice(bytes);
            out.push(seed);
        };
        add(&image.data[1024..2048]);
        add(image.desc_bytes(0));
        for ino in [
            Ino::ROOT,
            image.geo.journal_inum.unwrap(),
            image.lookup("d"),
            image.lookup("holes"),
        ] {
            add(image.raw_inode(ino));
            let inode = image.inode(ino);
            add(&inode.block);
            for pblk in image.block_map(ino, &inode).values().take(6) {
                add(image.block(*pblk));
            }
            let root = extent_root(&inode.block);
            if root.depth > 0 {
                let index = rext4_unit::disk::extent::index_at(&inode.block, 0).unwrap();
                add(image.block(index.pblk));
            }
            if let Some(acl) = inode.file_acl {
                add(image.block(acl));
            }
        }
        if let Some(ino) = image.geo.orphan_file_inum {
            let inode = image.inode(ino);
            for pblk in image.block_map(ino, &inode).values() {
                add(image.block(*pblk));
            }
        }
    }
    out
}

fn extent_root(block: &[u8]) -> rext4_unit::disk::extent::Header {
    rext4_unit::disk::extent::Header::read(block).unwrap()
}

#[test]
fn parsers_survive_mutated_blocks() {
    let iterations: usize = std::env::var("REXT4_FUZZ_ITERATIONS")
        .ok()
        .map_or(10_000, |v| v.parse().expect("a number"));
    let seeds = seeds();
    assert!(seeds.len() > 25);
    if let Some(dir) = std::env::var_os("REXT4_FUZZ_CORPUS").map(std::path::PathBuf::from) {
        fs::create_dir_all(&dir).unwrap();
        for (n, seed) in seeds.iter().enumerate() {
            fs::write(dir.join(n.to_string()), seed).unwrap();
        }
    }
    for (n, (name, target)) in TARGETS.iter().enumerate() {
        let mut random = Random(0x9e37_79b9_7f4a_7c15 + n as u64);
        // Unchanged first: the targets must get far enough into something valid.
        let good: Vec<&Vec<u8>> = seeds.iter().filter(|s| target(s)).collect();
        assert!(!good.is_empty(), "{name} accepts none of the real blocks");
        let mut kept = 0;
        for _ in 0..iterations {
            // Mostly of the right kind, sometimes of any other.
            let mut data = if random.below(4) > 0 {
                good[random.below(good.len())].clone()
            } else {
                seeds[random.below(seeds.len())].clone()
            };
            mutate(&mut data, &mut random);
            kept += usize::from(target(&data));
        }
        println!(
            "{name}: {} of {} seeds, {kept} of {iterations}",
            good.len(),
            seeds.len()
        );
        // Changes outside of what is checked must get through, or the targets test nothing more.
        assert!(kept > 0 || iterations < 100, "{name} accepts nothing");
    }
    assert_eq!(TARGETS.len(), targets::COUNT);
}
