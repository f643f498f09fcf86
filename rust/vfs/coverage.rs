// SPDX-License-Identifier: GPL-2.0

//! Which blocks of the code were run: what a build with `COVERAGE=1` keeps and leaves behind.

// rust/coverage/flags.c
extern "C" {
    fn vfs_coverage_write();
}

/// Leaves the flags in a file when it goes, which is when the module does.
pub(crate) struct Coverage(());

impl Coverage {
    /// The module's only one.
    pub(crate) fn of_module() -> Self {
        Self(())
    }
}

impl Drop for Coverage {
    fn drop(&mut self) {
        // SAFETY: Without a precondition but that it may sleep, as whoever unloads the module may.
        unsafe { vfs_coverage_write() }
    }
}
