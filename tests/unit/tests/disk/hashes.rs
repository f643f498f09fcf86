// SPDX-License-Identifier: GPL-2.0

//! The hash functions against debugfs.

use crate::image::{geometry, Image};
use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use rext4_unit::disk::hash::{Hash, HashVersion, Hasher};

const SEED: [u32; 4] = [0x0403_0201, 0x0605_0807, 0x0a09_0c0b, 0x100f_0e0d];
/// The same, as debugfs parses a UUID: bytes in order.
const SEED_UUID: &str = "01020304-0708-0506-0b0c-090a0d0e0f10";
/// The seed that stands for none.
const DEFAULT_UUID: &str = "01234567-89ab-cdef-fedc-ba9876543210";

fn names() -> Vec<String> {
    let mut runner = TestRunner::deterministic();
    let strategy = "[a-zA-Z0-9._é-ÿΑ-Ω-]{1,80}";
    let mut out: Vec<String> = (0..150)
        .map(|_| {
            let tree = strategy.new_tree(&mut runner).unwrap();
            proptest::strategy::ValueTree::current(&tree)
        })
        .collect();
    // Every length around the sizes the functions work in, with and without high bytes.
    for len in 1..=70 {
        out.push("a".repeat(len));
        out.push("é".repeat(len));
    }
    out.push("é".repeat(127));
    out.push("z".repeat(255));
    out.retain(|n| !n.starts_with('-'));
    out
}

#[test]
fn hashes_agree_with_debugfs() {
    let image = Image::make(&["-b", "1024"], "8M", |_| {});
    let names = names();
    // debugfs accepts the number of a hash function: 3 more for unsigned characters.
    for (version, number) in [
        (HashVersion::Legacy, 0),
        (HashVersion::HalfMd4, 1),
        (HashVersion::Tea, 2),
    ] {
        for unsigned in [false, true] {
            for seed in [Some(SEED), None] {
                let number = number + if unsigned { 3 } else { 0 };
                let uuid = seed.map_or(DEFAULT_UUID, |_| SEED_UUID);
                let requests: Vec<String> = names
                    .iter()
                    .map(|n| format!("dx_hash -h HASHALG_{number} -s {uuid} {n}"))
                    .collect();
                let mut hasher = Hasher::new(&geometry(1024, true), version);
                hasher.unsigned = unsigned;
                if let Some(seed) = seed {
                    hasher.seed = seed;
                }
                for (name, answer) in names.iter().zip(image.debugfs(&requests)) {
                    let Hash { major, minor } = hasher.hash(name.as_bytes());
                    let ours = format!("Hash of {name} is {major:#x} (minor {minor:#x})\n");
                    // printf's %#x has no prefix for zero, Rust's has.
                    let theirs = answer.replace("(minor 0)", "(minor 0x0)");
                    assert_eq!(ours, theirs, "{version:?} unsigned {unsigned}");
                }
            }
        }
    }
}

/// The one value that means the end of a directory is moved down, as the kernel does; e2fsprogs
/// does not know that rule.
#[test]
fn the_end_of_a_directory_is_no_hash() {
    let hasher = Hasher::new(&geometry(1024, true), HashVersion::Legacy);
    assert_eq!(hasher.hash(b"7245bam").major, 0xffff_fffc);
}

#[test]
fn versions_round_trip_and_others_are_refused() {
    for version in 0..=255 {
        match HashVersion::from_disk(version) {
            Ok(v) => assert_eq!(v.to_disk(), version),
            Err(_) => assert!(version > 2),
        }
    }
}

proptest! {
    /// The lowest bit is a mark of the index, and the largest value is the end of a directory.
    #[test]
    fn hashes_leave_the_reserved_values(name: Vec<u8>, unsigned: bool) {
        for version in [HashVersion::Legacy, HashVersion::HalfMd4, HashVersion::Tea] {
            let mut hasher = Hasher::new(&geometry(1024, true), version);
            hasher.unsigned = unsigned;
            let major = hasher.hash(&name).major;
            prop_assert_eq!(major & 1, 0);
            prop_assert!(major < 0xffff_fffe);
        }
    }
}
