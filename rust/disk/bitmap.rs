// SPDX-License-Identifier: GPL-2.0

//! Bitmaps of blocks and inodes: bit `n` is bit `n % 8` of byte `n / 8`; set means in use
//! (`Documentation/filesystems/ext4/bitmaps.rst`). Positions outside the buffer read as in use, so
//! that a wrong length can lose space but never hand out a block twice.

fn for_range(map: &mut [u8], start: usize, len: usize, mut f: impl FnMut(&mut u8, u8)) {
    let end = start.saturating_add(len).min(map.len().saturating_mul(8));
    let mut n = start;
    while n < end {
        let first = n % 8;
        let last = (end - (n - first)).min(8);
        // Bits first..last of this byte; last is 1 to 8, so no shift overflows.
        let mask = (0xffu8 << first) & (0xffu8 >> (8 - last));
        if let Some(byte) = map.get_mut(n / 8) {
            f(byte, mask);
        }
        n = n - first + 8;
    }
}

/// Sets `len` bits from `start`; the part beyond the buffer is ignored. Returns how many of them
/// were set already.
pub fn set_range(map: &mut [u8], start: usize, len: usize) -> usize {
    let mut already = 0;
    for_range(map, start, len, |byte, mask| {
        already += (*byte & mask).count_ones() as usize;
        *byte |= mask;
    });
    already
}

/// Clears `len` bits from `start`; the part beyond the buffer is ignored. Returns how many of them
/// were clear already.
pub fn clear_range(map: &mut [u8], start: usize, len: usize) -> usize {
    let mut already = 0;
    for_range(map, start, len, |byte, mask| {
        already += (!*byte & mask).count_ones() as usize;
        *byte &= !mask;
    });
    already
}

fn next_bit(map: &[u8], start: usize, end: usize, invert: u8) -> Option<usize> {
    let end = end.min(map.len().saturating_mul(8));
    let mut n = start;
    while n < end {
        // Eight bytes at a time while nothing is found: a full group is 4 KiB of ones.
        if n & 63 == 0 {
            if let Some(word) = map.get(n / 8..n / 8 + 8) {
                if word.iter().all(|b| b ^ invert == 0) {
                    n += 64;
                    continue;
                }
            }
        }
        let byte = (map.get(n / 8)? ^ invert) & (0xff << (n % 8));
        if byte != 0 {
            let found = n - n % 8 + byte.trailing_zeros() as usize;
            return (found < end).then_some(found);
        }
        n = n - n % 8 + 8;
    }
    None
}

/// The first clear bit in `start .. end`.
pub fn next_zero(map: &[u8], start: usize, end: usize) -> Option<usize> {
    next_bit(map, start, end, 0xff)
}

/// The first set bit in `start .. end`.
pub fn next_set(map: &[u8], start: usize, end: usize) -> Option<usize> {
    next_bit(map, start, end, 0)
}

/// How many of the bits `0 .. nbits` are clear.
pub fn count_zeros(map: &[u8], nbits: usize) -> usize {
    let nbits = nbits.min(map.len().saturating_mul(8));
    let whole = map.get(..nbits / 8).unwrap_or(&[]);
    let mut zeros: usize = whole.iter().map(|b| b.count_zeros() as usize).sum();
    if nbits & 7 != 0 {
        if let Some(byte) = map.get(nbits / 8) {
            let mask = 0xffu8 >> (8 - nbits % 8);
            zeros += (!byte & mask).count_ones() as usize;
        }
    }
    zeros
}
