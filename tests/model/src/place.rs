// SPDX-License-Identifier: GPL-2.0
//! Places in a file that mean something whatever is there: so a history that loses some of its
//! steps, as it shrinks, is still one.

use proptest::prelude::*;
use serde::{Deserialize, Serialize};

/// No file gets longer.
pub const MOST: u64 = 192 << 10;
pub const PAGE: u64 = 4096;
/// Of the device: what direct I/O is aligned to.
pub const SECTOR: u64 = 512;

/// What places are counted in.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub enum Unit {
    Byte,
    Sector,
    Block,
    Page,
}

impl Unit {
    fn bytes(self, block: u64) -> u64 {
        match self {
            Unit::Byte => 1,
            Unit::Sector => SECTOR,
            Unit::Block => block,
            Unit::Page => PAGE,
        }
    }
}

/// Where places are counted from.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub enum From {
    Start,
    End,
}

/// So many units from there, and a bit beside.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Place {
    pub from: From,
    pub n: i64,
    pub unit: Unit,
    pub beside: i64,
}

impl Place {
    /// In a file of this size, in bytes.
    pub fn at(self, size: u64, block: u64) -> u64 {
        let from = match self.from {
            From::Start => 0,
            From::End => size as i64,
        };
        let at = from + self.n * self.unit.bytes(block) as i64 + self.beside;
        at.clamp(0, MOST as i64) as u64
    }
}

/// So many units, and a bit more or less.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Length {
    pub n: i64,
    pub unit: Unit,
    pub beside: i64,
}

impl Length {
    /// In bytes, from `at` on; never nothing.
    pub fn from(self, at: u64, block: u64) -> u64 {
        let len = self.n * self.unit.bytes(block) as i64 + self.beside;
        (len.max(1) as u64).min((MOST + PAGE).saturating_sub(at).max(1))
    }
}

fn unit() -> impl Strategy<Value = Unit> {
    prop_oneof![
        3 => Just(Unit::Page),
        3 => Just(Unit::Block),
        1 => Just(Unit::Sector),
        1 => Just(Unit::Byte),
    ]
}

/// Nothing as often as something.
fn beside() -> impl Strategy<Value = i64> {
    prop_oneof![4 => Just(0), 1 => Just(1), 1 => Just(-1), 2 => -600i64..600]
}

pub fn place() -> impl Strategy<Value = Place> {
    let start =
        (unit(), 0i64..9, beside()).prop_map(|(unit, n, beside)| (From::Start, unit, n, beside));
    let far =
        (unit(), 0i64..44, beside()).prop_map(|(unit, n, beside)| (From::Start, unit, n, beside));
    let end =
        (unit(), -3i64..4, beside()).prop_map(|(unit, n, beside)| (From::End, unit, n, beside));
    prop_oneof![5 => start, 4 => end, 1 => far].prop_map(|(from, unit, n, beside)| Place {
        from,
        n,
        unit,
        beside,
    })
}

pub fn length() -> impl Strategy<Value = Length> {
    let n = prop_oneof![5 => 1i64..4, 2 => 1i64..10, 1 => 1i64..33];
    (unit(), n, beside()).prop_map(|(unit, n, beside)| Length { n, unit, beside })
}
