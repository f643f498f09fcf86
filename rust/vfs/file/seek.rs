// SPDX-License-Identifier: GPL-2.0

//! `lseek(2)` where positions are bytes of the file: of regular ones, and of directories without
//! an index.

use super::File;
use crate::vfs::{bindings, super_block::FileSystem};
use kernel::{error::code::*, prelude::*};

/// Sets the position, to `max` at most. `search` finds the next hole, if that is asked for, or else
/// data from a byte on. An error is what C returns as such.
pub(in crate::vfs) fn seek_bytes<F: FileSystem>(
    file: &File<F>,
    (offset, whence): (i64, c_int),
    max: u64,
    search: impl FnOnce(u64, bool) -> Result<u64>,
) -> Result<i64> {
    let hole = match whence as u32 {
        bindings::SEEK_HOLE => true,
        bindings::SEEK_DATA => false,
        _ => {
            let (max, size) = (max as i64, file.inode().size() as i64);
            // SAFETY: By the type invariant of `File`.
            return Ok(unsafe {
                bindings::generic_file_llseek_size(file.as_ptr(), offset, whence, max, size)
            });
        }
    };
    let pos = search(u64::try_from(offset).map_err(|_| ENXIO)?, hole)?;
    // SAFETY: By the type invariant of `File`.
    Ok(unsafe { bindings::vfs_setpos(file.as_ptr(), pos as i64, max as i64) })
}
