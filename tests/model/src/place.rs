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
    /// Where the last range began that a step was about, in whatever file.
    LastStart,
    LastEnd,
}

/// What places are resolved against.
#[derive(Clone, Copy)]
pub struct Around {
    pub size: u64,
    pub block: u64,
    /// The last range.
    pub last: (u64, u64),
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
    /// In bytes.
    pub fn at(self, around: Around) -> u64 {
        let from = match self.from {
            From::Start => 0,
            From::End => around.size,
            From::LastStart => around.last.0,
            From::LastEnd => around.last.1,
        } as i64;
        let at = from + self.n * self.unit.bytes(around.block) as i64 + self.beside;
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

/// What the places of a history have in common.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Style {
    /// Whole pages only.
    Pages,
    /// Whole blocks only.
    Blocks,
    /// Whole sectors only: what direct I/O can do.
    Sectors,
    /// Anything.
    Mixed,
}

impl Style {
    /// Of a history: aligned ones as often as others.
    pub fn of(number: u64) -> Style {
        use Style::{Blocks, Mixed, Pages, Sectors};
        const ALL: [Style; 8] = [Pages, Mixed, Sectors, Mixed, Blocks, Mixed, Sectors, Mixed];
        ALL[(number % ALL.len() as u64) as usize]
    }

    fn unit(self) -> BoxedStrategy<Unit> {
        match self {
            Style::Pages => Just(Unit::Page).boxed(),
            Style::Blocks => Just(Unit::Block).boxed(),
            Style::Sectors => Just(Unit::Sector).boxed(),
            Style::Mixed => prop_oneof![
                2 => Just(Unit::Page),
                3 => Just(Unit::Block),
                2 => Just(Unit::Sector),
                1 => Just(Unit::Byte),
            ]
            .boxed(),
        }
    }

    /// Of anything, nothing beside it as often as something.
    fn beside(self) -> BoxedStrategy<i64> {
        match self {
            Style::Pages | Style::Blocks | Style::Sectors => Just(0).boxed(),
            Style::Mixed => {
                prop_oneof![4 => Just(0), 1 => Just(1), 1 => Just(-1), 2 => -600i64..600].boxed()
            }
        }
    }

    /// Near the others, or also far away.
    pub fn place(self, near: bool) -> BoxedStrategy<Place> {
        let (start, end, far) = if near { (3i64, 1i64, 5i64) } else { (9, 3, 44) };
        let beside_last = prop_oneof![3 => Just(0i64), 1 => -end..=end];
        let last = prop::sample::select(vec![From::LastStart, From::LastEnd]);
        let from = prop_oneof![
            4 => (Just(From::Start), 0..start),
            3 => (Just(From::End), -end..=end),
            4 => (last, beside_last),
            1 => (Just(From::Start), 0..far),
        ];
        (from, self.unit(), self.beside())
            .prop_map(|((from, n), unit, beside)| Place {
                from,
                n,
                unit,
                beside,
            })
            .boxed()
    }

    pub fn length(self, near: bool) -> BoxedStrategy<Length> {
        let (few, more, many) = if near {
            (3i64, 5i64, 9i64)
        } else {
            (4, 10, 33)
        };
        let n = prop_oneof![5 => 1..few, 2 => 1..more, 1 => 1..many];
        (self.unit(), n, self.beside())
            .prop_map(|(unit, n, beside)| Length { n, unit, beside })
            .boxed()
    }
}
