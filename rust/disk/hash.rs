// SPDX-License-Identifier: GPL-2.0

//! Hashes of names in indexed directories (`Documentation/filesystems/ext4/directory.rst`, "Hash
//! Tree Directories"). Three functions; each reads the bytes of a name as signed or as unsigned,
//! because the format did not say which when it was young.

use super::superblock::Geometry;
use super::{Corrupt, Result};

/// Hash function of a directory index, as stored in its root.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HashVersion {
    /// The first one; weak.
    Legacy,
    /// Three short rounds of MD4; the default.
    HalfMd4,
    /// Tiny Encryption Algorithm.
    Tea,
}

impl HashVersion {
    /// From the number in an index root or superblock.
    pub fn from_disk(version: u8) -> Result<Self> {
        match version {
            0 => Ok(HashVersion::Legacy),
            1 => Ok(HashVersion::HalfMd4),
            2 => Ok(HashVersion::Tea),
            _ => Err(Corrupt::DxHashVersion),
        }
    }

    /// The number in an index root.
    pub fn to_disk(self) -> u8 {
        match self {
            HashVersion::Legacy => 0,
            HashVersion::HalfMd4 => 1,
            HashVersion::Tea => 2,
        }
    }
}

/// The hash of a name. The lowest bit of `major` is always 0: in an index it marks a block that
/// goes on with the hash of the one before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Hash {
    /// What an index is sorted by.
    pub major: u32,
    /// Distinguishes names of the same `major` for readdir positions only.
    pub minor: u32,
}

impl Hash {
    /// Both in one number, in the same order.
    pub fn rank(self) -> u64 {
        u64::from(self.major) << 32 | u64::from(self.minor)
    }
}

/// All that a hash depends on but the name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hasher {
    /// The function.
    pub version: HashVersion,
    /// Bytes count as unsigned.
    pub unsigned: bool,
    /// Start values.
    pub seed: [u32; 4],
}

/// The largest `major`; one more would be the end of the directory in a 32-bit position.
const MAJOR_MAX: u32 = 0xffff_fffc;
const MAJOR_EOF: u32 = 0xffff_fffe;

const DEFAULT_SEED: [u32; 4] = [0x6745_2301, 0xefcd_ab89, 0x98ba_dcfe, 0x1032_5476];

impl Hasher {
    /// The hasher of a directory whose index says `version`.
    pub fn new(geo: &Geometry, version: HashVersion) -> Self {
        Hasher {
            version,
            unsigned: geo.hash_unsigned,
            seed: if geo.hash_seed == [0; 4] {
                DEFAULT_SEED
            } else {
                geo.hash_seed
            },
        }
    }

    /// The hasher of a new index.
    pub fn new_default(geo: &Geometry) -> Result<Self> {
        Ok(Self::new(
            geo,
            HashVersion::from_disk(geo.def_hash_version)?,
        ))
    }

    /// Hashes a name.
    pub fn hash(&self, name: &[u8]) -> Hash {
        let (major, minor) = match self.version {
            HashVersion::Legacy => (self.legacy(name), 0),
            HashVersion::HalfMd4 => {
                let mut state = self.seed;
                let mut rest = name;
                while !rest.is_empty() {
                    half_md4(&mut state, self.words(rest));
                    rest = rest.get(32..).unwrap_or(&[]);
                }
                (state[1], state[2])
            }
            HashVersion::Tea => {
                let mut state = self.seed;
                let mut rest = name;
                while !rest.is_empty() {
                    tea(&mut state, self.words(rest));
                    rest = rest.get(16..).unwrap_or(&[]);
                }
                (state[0], state[1])
            }
        };
        let major = match major & !1 {
            MAJOR_EOF => MAJOR_MAX,
            other => other,
        };
        Hash { major, minor }
    }

    fn byte(&self, b: u8) -> u32 {
        if self.unsigned {
            u32::from(b)
        } else {
            // Sign extension to 32 bits.
            i32::from(b as i8) as u32
        }
    }

    fn legacy(&self, name: &[u8]) -> u32 {
        let (mut h0, mut h1) = (0x12a3_fe2du32, 0x37ab_e8f9u32);
        for &b in name {
            let mixed = h0 ^ self.byte(b).wrapping_mul(7_152_373);
            let mut h = h1.wrapping_add(mixed);
            if h & 0x8000_0000 != 0 {
                h = h.wrapping_sub(0x7fff_ffff);
            }
            h1 = h0;
            h0 = h;
        }
        h0 << 1
    }

    /// Packs the start of `rest`, big-endian, into words; what is missing is made up from the
    /// length of `rest`, so that names that differ only in trailing bytes differ here.
    #[inline(always)]
    fn words<const N: usize>(&self, mut rest: &[u8]) -> [u32; N] {
        let len = rest.len() as u32;
        let pad = len | (len << 8);
        let pad = pad | (pad << 16);
        let mut out = [pad; N];
        for word in out.iter_mut() {
            let Some((&four, behind)) = rest.split_first_chunk() else {
                let shifted = |acc: u32, &b: &u8| (acc << 8).wrapping_add(self.byte(b));
                *word = rest.iter().fold(pad, shifted);
                break;
            };
            *word = self.word(four);
            rest = behind;
        }
        out
    }

    /// Four bytes as a number. One that is negative takes 1 from the byte above it.
    #[inline(always)]
    fn word(&self, four: [u8; 4]) -> u32 {
        let word = u32::from_be_bytes(four);
        if self.unsigned {
            word
        } else {
            word.wrapping_sub((word & 0x0080_8080) << 1)
        }
    }
}

fn tea(state: &mut [u32; 4], key: [u32; 4]) {
    const DELTA: u32 = 0x9e37_79b9;
    let [mut y, mut z, _, _] = *state;
    let mut sum = 0u32;
    for _ in 0..16 {
        sum = sum.wrapping_add(DELTA);
        y = y.wrapping_add(
            (z << 4).wrapping_add(key[0]) ^ z.wrapping_add(sum) ^ (z >> 5).wrapping_add(key[1]),
        );
        z = z.wrapping_add(
            (y << 4).wrapping_add(key[2]) ^ y.wrapping_add(sum) ^ (y >> 5).wrapping_add(key[3]),
        );
    }
    state[0] = state[0].wrapping_add(y);
    state[1] = state[1].wrapping_add(z);
}

fn half_md4(state: &mut [u32; 4], data: [u32; 8]) {
    let [d0, d1, d2, d3, d4, d5, d6, d7] = data;
    let mut new = md4_round(*state, data, [3, 7, 11, 19], |b, c, d| d ^ (b & (c ^ d)));
    let add = |order: [u32; 8], constant: u32| order.map(|word| word.wrapping_add(constant));
    let second = add([d1, d3, d5, d7, d0, d2, d4, d6], 0x5a82_7999);
    new = md4_round(new, second, [3, 5, 9, 13], |b, c, d| {
        (b & c).wrapping_add((b ^ c) & d)
    });
    let third = add([d3, d7, d2, d6, d1, d5, d0, d4], 0x6ed9_eba1);
    new = md4_round(new, third, [3, 9, 11, 15], |b, c, d| b ^ c ^ d);
    for (old, new) in state.iter_mut().zip(new) {
        *old = old.wrapping_add(new);
    }
}

/// Eight steps, which are unrolled: a directory that is listed, or whose leaf is split, has each
/// of its names hashed.
#[inline(always)]
fn md4_round(
    [mut a, mut b, mut c, mut d]: [u32; 4],
    data: [u32; 8],
    shifts: [u32; 4],
    mix: impl Fn(u32, u32, u32) -> u32,
) -> [u32; 4] {
    for (step, x) in data.into_iter().enumerate() {
        let sum = a.wrapping_add(mix(b, c, d)).wrapping_add(x);
        // Each step gives its result to the role the next one calls b.
        a = d;
        d = c;
        c = b;
        b = sum.rotate_left(shifts[step & 3]);
    }
    [a, b, c, d]
}
