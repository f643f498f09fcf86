// SPDX-License-Identifier: GPL-2.0
//! What files hold: buffered and mapped, holes and preallocation, sizes.

pub mod data;
pub mod diff;
pub mod encrypted;
pub mod encrypted_keys;
pub mod encrypted_under;
pub mod encrypted_units;
pub mod exchange;
pub mod exchange_under;
pub mod extents;
pub mod falloc;
pub mod fsx;
pub mod limit;
pub mod mmap;
pub mod mmap_under;
pub mod nowait;
pub mod shift;
pub mod swap;
pub mod sync;
pub mod trunc;
pub mod zeroes;
