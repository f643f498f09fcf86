// SPDX-License-Identifier: GPL-2.0

//! The mount options of ext4 that there is nothing behind here, so that a line of fstab written for
//! ext4 mounts. One that asks for what is done anyway is taken; so is one that asks for less or for
//! a tunable, with a line that says what happens instead. What would be a promise that cannot be
//! kept is refused. The table is also in Documentation/mount-options.md.

/// What becomes of an option.
#[derive(Clone, Copy)]
pub(super) enum Foreign {
    /// It is as asked for.
    Same,
    /// Something else is done, harmless to whoever asked.
    Instead(&'static str),
    /// Whoever asks for it relies on it.
    Refused(&'static str),
}

use Foreign::{Instead, Refused, Same};

const NO_QUOTA: Foreign = Refused("quotas are not supported");
const NO_TUNABLE: Foreign = Instead("no such tunable here");

/// What becomes of option `key` with this value; `None` if ext4 has none of that kind.
pub(super) fn verdict(key: &[u8], value: Option<&[u8]>) -> Option<Foreign> {
    match value {
        None => flag(key),
        Some(value) => valued(key, value),
    }
}

fn flag(key: &[u8]) -> Option<Foreign> {
    Some(match key {
        b"delalloc" | b"block_validity" | b"noquota" | b"nowarn_on_error" | b"dioread_nolock"
        | b"noinit_itable" | b"i_version" => Same,
        // ext4 has removed them.
        b"oldalloc" | b"orlov" | b"bh" | b"nobh" | b"mblk_io_submit" | b"nomblk_io_submit"
        | b"nocheck" | b"reservation" | b"noreservation" => Same,
        b"journal_checksum" | b"nojournal_checksum" => {
            Instead("the journal has checksums if the file system has them")
        }
        b"journal_async_commit" => Instead("commits wait for the blocks of the log"),
        b"dioread_lock" | b"nodioread_nolock" => Instead("direct reads take no lock"),
        b"noblock_validity" => Instead("the place of each block is checked"),
        b"init_itable" => Instead("inode tables are initialised as they are used"),
        // Space is promised before all the same, and what is not synced is promised to nobody.
        b"nodelalloc" => Instead("blocks are allocated when data is written back"),
        b"prefetch_block_bitmaps" | b"no_prefetch_block_bitmaps" => NO_TUNABLE,
        b"debug" | b"warn_on_error" => Instead("the kernel log says what there is to say"),
        b"nouid32" => Refused("owners have 32 bits"),
        b"usrquota" | b"grpquota" | b"prjquota" | b"quota" => NO_QUOTA,
        b"usrjquota" | b"grpjquota" => NO_QUOTA,
        b"abort" => Refused("abort is for tests of ext4"),
        _ => return None,
    })
}

fn valued(key: &[u8], value: &[u8]) -> Option<Foreign> {
    let number = super::decimal(value, u32::MAX).is_some();
    Some(match (key, value) {
        (b"data", b"ordered" | b"writeback") => {
            Instead("data is on disk before the metadata that shows it, and no commit writes data")
        }
        (b"data", b"journal") => Refused("data=journal: file data cannot be journaled"),
        (b"data", _) => Refused("data= is ordered or writeback"),
        (b"data_err", b"ignore") => Same,
        (b"data_err", _) => Refused("data_err: an error of data is for fsync to report"),
        (b"check", _) => Same,
        // Where blocks go is not striped; the number of the super block is known.
        (b"stripe", _) if number => Instead("allocation does not look at stripes"),
        (
            b"inode_readahead_blks"
            | b"min_batch_time"
            | b"max_batch_time"
            | b"journal_ioprio"
            | b"mb_optimize_scan"
            | b"init_itable"
            | b"journal",
            _,
        ) if number => NO_TUNABLE,
        (b"sb", b"1") => Same,
        (b"sb", _) => Refused("backup super blocks are for e2fsck"),
        (b"journal_dev" | b"journal_path", _) => Refused("external journals are not supported"),
        (b"jqfmt" | b"usrjquota" | b"grpjquota", _) => NO_QUOTA,
        _ => return None,
    })
}
