// SPDX-License-Identifier: GPL-2.0
//! Where a file may have blocks, in pages: where something was written or allocated that was not
//! removed again. More is space that was not given back.

use crate::model::Call;
use crate::names::Id;
use crate::op::{Op, Space, Way};
use crate::place::PAGE;
use std::collections::{BTreeMap, BTreeSet};

/// The pages of each file; None if nobody can say.
#[derive(Default)]
pub struct Taken(BTreeMap<Id, Option<BTreeSet<u64>>>);

impl Taken {
    /// A step is done to a file of this size.
    pub fn step(&mut self, call: &Call, id: Id, size: u64) {
        let taken = self.0.entry(id).or_insert_with(|| Some(BTreeSet::new()));
        let (at, end) = (call.at, call.at + call.len);
        let Some(pages) = taken else { return };
        match call.op {
            // iomap dirties the whole folio, which may be large.
            Op::Write(_, _, _, Way::Mapped) if call.len > 0 => *taken = None,
            Op::Write(..) => pages.extend(at / PAGE..end.div_ceil(PAGE)),
            // What moves by less than a page.
            Op::Fallocate(_, _, _, Space::Collapse | Space::Insert) => *taken = None,
            Op::Fallocate(_, _, _, Space::Punch) => {
                // Behind the end ext4 punches nothing, and rext4 may.
                let end = end.min(size.next_multiple_of(PAGE));
                let gone = at.div_ceil(PAGE)..end / PAGE;
                pages.retain(|page| !gone.contains(page));
            }
            Op::Fallocate(..) => pages.extend(at / PAGE..end.div_ceil(PAGE)),
            // What lies behind the end goes if the file gets shorter.
            Op::Truncate(..) if at < size => pages.retain(|&page| page < at.div_ceil(PAGE)),
            Op::Create(_) if size > 0 => pages.clear(),
            _ => (),
        }
    }

    /// Nobody can say any more of any file.
    pub fn forget(&mut self) {
        self.0.values_mut().for_each(|taken| *taken = None);
    }

    /// The first byte of a range that the file should have no block for.
    pub fn excess(&self, id: Id, at: u64, len: u64) -> Option<u64> {
        let pages = self.0.get(&id)?.as_ref()?;
        let mut range = at / PAGE..(at + len).div_ceil(PAGE);
        range
            .find(|page| !pages.contains(page))
            .map(|page| page * PAGE)
    }
}
