// SPDX-License-Identifier: GPL-2.0

//! What is seen of the options of a mount.

use crate::fs::{options::Options, Rext4};
use kernel::{seq_file::SeqFile, seq_print};

/// The options as /proc/mounts shows them, and whether errors or a shutdown have ended all writing.
pub(in crate::fs) fn show_options(fs: &Rext4, out: &SeqFile) {
    options(fs).show(out);
    if fs.access.is_shut_down() {
        seq_print!(out, ",shutdown");
    } else if fs.access.is_emergency() {
        seq_print!(out, ",emergency_ro");
    }
}

/// The options in force.
pub(in crate::fs) fn options(fs: &Rext4) -> Options {
    fs.options.lock().clone()
}
