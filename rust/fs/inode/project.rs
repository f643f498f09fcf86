// SPDX-License-Identifier: GPL-2.0

//! Projects: each inode is of one, where the file system has them.

use super::InodeInfo;
use crate::{disk::features::RO_COMPAT_PROJECT, fs::Rext4};
use kernel::sync::atomic::ordering;

/// Whether inodes have projects.
pub(in crate::fs) fn has_projects(fs: &Rext4) -> bool {
    fs.geo.features.has_ro_compat(RO_COMPAT_PROJECT)
}

impl InodeInfo {
    /// The project; 0, that of all others, where the file system has none.
    pub(crate) fn projid(&self) -> u32 {
        self.projid.load(ordering::Relaxed)
    }

    /// Sets the project, as [`InodeInfo::set_flags`]. The file system has such, and the inode keeps
    /// one ([`InodeInfo::keeps_project`]).
    pub(in crate::fs) fn set_projid(&self, projid: u32) {
        self.projid.store(projid, ordering::Relaxed);
    }

    /// Whether there is a place for the project in the raw inode. [`super::journal`] makes one if
    /// it can.
    pub(in crate::fs) fn keeps_project(&self) -> bool {
        self.fields.lock().keeps_project()
    }
}
