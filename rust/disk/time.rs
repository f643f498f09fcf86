// SPDX-License-Identifier: GPL-2.0

//! Timestamps of inodes: 32 bits of seconds and, in large inodes, an extra word with nanoseconds
//! and two more bits of seconds (`Documentation/filesystems/ext4/inodes.rst`, "Inode Timestamps").

/// The earliest second that can be stored: 1901-12-13.
pub const MIN_SECONDS: i64 = i32::MIN as i64;
/// The latest second an inode without the extra word can hold: 2038-01-19.
pub const MAX_SECONDS_SMALL: i64 = i32::MAX as i64;
/// The latest second an inode with the extra word can hold: 2446-05-10.
pub const MAX_SECONDS_LARGE: i64 = (3 << 32) + i32::MAX as i64;

const NSEC_PER_SEC: u32 = 1_000_000_000;

/// A point in time: seconds since 1970 and nanoseconds below 10^9.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Timestamp {
    /// Seconds since the epoch.
    pub sec: i64,
    /// Nanoseconds within the second.
    pub nsec: u32,
}

impl Timestamp {
    /// Decodes the base word and, where the inode has it, the extra word.
    ///
    /// The two epoch bits count multiples of 2^32 seconds that are added to the *signed* base; 30
    /// bits can hold more than 10^9 nanoseconds, such a value becomes the last nanosecond.
    pub fn decode(base: u32, extra: Option<u32>) -> Self {
        let sec = i64::from(base as i32);
        match extra {
            None => Timestamp { sec, nsec: 0 },
            Some(extra) => Timestamp {
                sec: sec + (i64::from(extra & 3) << 32),
                nsec: (extra >> 2).min(NSEC_PER_SEC - 1),
            },
        }
    }

    /// The base and the extra word; seconds outside the range of the format are clamped.
    pub fn encode(self, has_extra: bool) -> (u32, u32) {
        let max = if has_extra {
            MAX_SECONDS_LARGE
        } else {
            MAX_SECONDS_SMALL
        };
        let sec = self.sec.clamp(MIN_SECONDS, max);
        let base = sec as i32;
        let epoch = ((sec - i64::from(base)) >> 32) as u32 & 3;
        (base as u32, (self.nsec.min(NSEC_PER_SEC - 1) << 2) | epoch)
    }
}
