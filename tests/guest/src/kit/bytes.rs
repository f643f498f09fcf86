// SPDX-License-Identifier: GPL-2.0
//! What files are filled with, and where two of them differ.

/// Bytes that depend on the file and the offset, never zero.
pub fn pattern(seed: u64, off: u64, len: usize) -> Vec<u8> {
    let mut v = Vec::with_capacity(len + 8);
    let skip = (off % 8) as usize;
    let mut word = off / 8;
    while v.len() < len + skip {
        let mut x =
            word.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ seed.wrapping_mul(0xd6e8_feb8_6659_fd93);
        x = (x ^ (x >> 32)).wrapping_mul(0xd6e8_feb8_6659_fd93);
        x = (x ^ (x >> 32)) | 0x0101_0101_0101_0101;
        v.extend_from_slice(&x.to_le_bytes());
        word += 1;
    }
    v.drain(..skip);
    v.truncate(len);
    v
}

/// Says where two byte strings differ first.
pub fn diff_at(got: &[u8], want: &[u8]) -> Option<String> {
    if got.len() != want.len() {
        return Some(format!("length {} instead of {}", got.len(), want.len()));
    }
    let i = (0..got.len()).find(|&i| got[i] != want[i])?;
    let n = got.iter().zip(want).filter(|(a, b)| a != b).count();
    let hex = |b: &[u8]| {
        b[i..(i + 8).min(b.len())]
            .iter()
            .map(|x| format!("{x:02x}"))
            .collect::<String>()
    };
    Some(format!(
        "{n} bytes differ, first at {i} ({i:#x}): {} instead of {}",
        hex(got),
        hex(want)
    ))
}
