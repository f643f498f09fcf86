// SPDX-License-Identifier: GPL-2.0
//! What other drivers and tools leave, and the kernel's ext4 takes.

use crate::fixture::T;
use crate::harness::{Case, Res, ALL};
use crate::same;
use crate::sys;

pub const CASES: &[Case] = &[Case::new("older/symlink_flag", ALL, symlink_flag).quick()];

/// A short symlink with the flag of extents keeps its target when its inode is written, and can be
/// deleted.
fn symlink_flag(t: &mut T) -> Res {
    t.mkfs(64, &[])?;
    t.mount("")?;
    for name in ["l", "gone"] {
        sys::symlink("the target", &t.p(name))?;
    }
    t.umount()?;
    t.debugfs(&["sif /l flags 0x80000", "sif /gone flags 0x80000"])?;
    t.mount("")?;
    sys::lchown(&t.p("l"), 1000, 1000)?;
    same!(sys::readlink(&t.p("l"))?, b"the target".to_vec(), "written");
    t.cycle()?;
    same!(
        sys::readlink(&t.p("l"))?,
        b"the target".to_vec(),
        "read again"
    );
    sys::unlink(&t.p("gone"))?;
    sys::sync();
    t.cycle()?;
    same!(
        sys::readlink(&t.p("l"))?,
        b"the target".to_vec(),
        "once more"
    );
    sys::unlink(&t.p("l"))?;
    t.umount()?;
    t.fsck()
}
