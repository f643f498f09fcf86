// SPDX-License-Identifier: GPL-2.0

//! Tests of the on-disk format code: against images made and described by e2fsprogs, and by
//! properties over generated structures.

mod attrs;
mod dirs;
mod encrypted;
mod fields;
mod grow;
mod hashes;
mod image;
mod images;
mod linear;
mod properties;
mod rules;
mod smoke;
mod sorting;
mod supers;
