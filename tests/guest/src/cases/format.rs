// SPDX-License-Identifier: GPL-2.0
//! Features of the format, options, sizes of disks, and what is refused.

pub mod about;
pub mod beside;
pub mod compare;
pub mod features;
pub mod fields;
pub mod large;
pub mod maps;
pub mod older;
pub mod options;
pub mod refusals;
pub mod sysfs;
pub mod uuid;
