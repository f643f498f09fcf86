// SPDX-License-Identifier: GPL-2.0

//! Signposts: "here a rule of the data path is kept". The rules are those of
//! Documentation/data-path.md. In a normal build all of them are, and what is asked here is a
//! constant; the [`lab`] breaks one on demand.

use super::lab;

pub(crate) use lab::Rule;

/// Whether `rule` is kept.
#[inline(always)]
pub(crate) fn kept(rule: Rule) -> bool {
    !lab::off(rule)
}
