// SPDX-License-Identifier: GPL-2.0
//! What is free when all that was made is gone again.

/// Free blocks and inodes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Free {
    pub blocks: u64,
    pub inodes: u64,
}

impl Free {
    /// As much is free now as before.
    pub fn same(self, now: Free) -> Result<(), String> {
        if self == now {
            return Ok(());
        }
        Err(format!(
            "{} blocks and {} inodes are free when all is gone, before it was {} and {}",
            now.blocks, now.inodes, self.blocks, self.inodes
        ))
    }

    /// May what is missing be that of inodes which the next mount frees? No more of them than were
    /// `left` to it, and no block without one.
    pub fn waits(self, now: Free, left: usize) -> bool {
        let missing = self.inodes.saturating_sub(now.inodes);
        (1..=left as u64).contains(&missing) && now.blocks <= self.blocks
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn free(blocks: u64, inodes: u64) -> Free {
        Free { blocks, inodes }
    }

    #[test]
    fn an_orphan_is_not_lost() {
        let was = free(10, 100);
        assert_eq!(was.same(was), Ok(()));
        assert!(was.same(free(9, 99)).is_err());
        assert!(was.waits(free(9, 99), 1) && was.waits(free(10, 98), 2));
        // Not more of them, nor blocks of nobody.
        assert!(!was.waits(free(9, 98), 1) && !was.waits(free(9, 99), 0));
        assert!(!was.waits(free(9, 100), 1) && !was.waits(free(11, 99), 1));
    }
}
