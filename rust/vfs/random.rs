// SPDX-License-Identifier: GPL-2.0

//! Random numbers.
//!
//! C header: [`include/linux/random.h`](srctree/include/linux/random.h)

use super::bindings;

/// A UUID that nobody else has (version 4). Any context.
pub(crate) fn random_uuid() -> [u8; 16] {
    let mut uuid = [0; 16];
    for four in uuid.chunks_exact_mut(4) {
        four.copy_from_slice(&random_u32().to_ne_bytes());
    }
    uuid[6] = uuid[6] & 0x0f | 0x40;
    uuid[8] = uuid[8] & 0x3f | 0x80;
    uuid
}

/// A random number, fit for secrets. Any context.
pub(crate) fn random_u32() -> u32 {
    // SAFETY: May be called anywhere.
    unsafe { bindings::random_u32() }
}
