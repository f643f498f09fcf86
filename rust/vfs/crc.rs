// SPDX-License-Identifier: GPL-2.0

//! CRC32C, by the kernel's fastest implementation.
//!
//! C header: [`include/linux/crc32.h`](srctree/include/linux/crc32.h)

use super::bindings;

/// Continues a CRC32C from `seed` over `data`, with no inversion before or after, as the C
/// function. Any context.
pub(crate) fn crc32c(seed: u32, data: &[u8]) -> u32 {
    // SAFETY: `crc32c()` reads `data.len()` bytes from the pointer.
    unsafe { bindings::crc32c(seed, data.as_ptr().cast(), data.len()) }
}
