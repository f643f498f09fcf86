// SPDX-License-Identifier: GPL-2.0

//! What a mount shows in `/sys/fs/rext4/DEVICE`: names and numbers are those of ext4, as far as
//! there is something behind them here.
//!
//! Any program may read these files as often as it likes: nothing here reads the disk or waits for
//! it.

use super::{alloc, marks, Rext4, Sb};
use crate::{
    disk::superblock::ErrorMark,
    vfs::{
        atomic::Atomic,
        cred,
        fscrypt,
        super_block::SysFile,
        sysfs::{Shown, Written}, //
    },
};
use kernel::{
    error::code::*,
    prelude::*,
    str::{BStr, CStr},
    sync::atomic::Relaxed, //
};

/// The file that changes with each error.
const ERRORS: &CStr = c"errors_count";

/// What the module can do that tools ask for.
pub(super) const FEATURES: &[&CStr] = if fscrypt::AVAILABLE {
    &[
        c"batched_discard",
        c"metadata_csum_seed",
        c"encryption",
        c"test_dummy_encryption_v2",
    ]
} else {
    &[c"batched_discard", c"metadata_csum_seed"]
};

/// The files of a mount.
pub(super) const FILES: &[SysFile<Rext4>] = &[
    SysFile::new(c"delayed_allocation_blocks", |sb| {
        Ok(alloc::promised_blocks(sb).into())
    }),
    SysFile::new(c"session_write_kbytes", |sb| {
        Ok(sb.data().about.kbytes_since_mount(sb.device()).into())
    }),
    SysFile::new(c"lifetime_write_kbytes", |sb| {
        Ok(sb.data().about.kbytes_written(sb.device()).into())
    }),
    SysFile::<Rext4>::new(c"reserved_clusters", |sb| Ok(alloc::pool(sb).into()))
        .stored(|sb, text| alloc::set_pool(sb, text.number()?)),
    SysFile::<Rext4>::new(c"sb_update_sec", |sb| {
        Ok(show_limit(&sb.data().about.update_sec))
    })
    .stored(|sb, text| store_limit(&sb.data().about.update_sec, text)),
    SysFile::<Rext4>::new(c"sb_update_kb", |sb| {
        Ok(show_limit(&sb.data().about.update_kb))
    })
    .stored(|sb, text| store_limit(&sb.data().about.update_kb, text)),
    SysFile::new(c"journal_task", journal_task),
    SysFile::write_only(c"trigger_fs_error", trigger_error),
    SysFile::new(ERRORS, |sb| error(sb, |mark| mark.count().into())),
    SysFile::new(c"first_error_time", |sb| {
        error(sb, |mark| mark.first().time().into())
    }),
    SysFile::new(c"first_error_ino", |sb| {
        error(sb, |mark| mark.first().ino().into())
    }),
    SysFile::new(c"first_error_block", |sb| {
        error(sb, |mark| mark.first().block().into())
    }),
    SysFile::new(c"first_error_func", |sb| {
        error(sb, |mark| Shown::Text(mark.first().func()))
    }),
    SysFile::new(c"first_error_line", |sb| {
        error(sb, |mark| mark.first().line().into())
    }),
    SysFile::new(c"first_error_errcode", |sb| {
        error(sb, |mark| mark.first().code().into())
    }),
    SysFile::new(c"last_error_time", |sb| {
        error(sb, |mark| mark.last().time().into())
    }),
    SysFile::new(c"last_error_ino", |sb| {
        error(sb, |mark| mark.last().ino().into())
    }),
    SysFile::new(c"last_error_block", |sb| {
        error(sb, |mark| mark.last().block().into())
    }),
    SysFile::new(c"last_error_func", |sb| {
        error(sb, |mark| Shown::Text(mark.last().func()))
    }),
    SysFile::new(c"last_error_line", |sb| {
        error(sb, |mark| mark.last().line().into())
    }),
    SysFile::new(c"last_error_errcode", |sb| {
        error(sb, |mark| mark.last().code().into())
    }),
];

/// Wakes those who wait for an error, if there was one. No lock and no handle is held.
pub(super) fn tell_errors(sb: &Sb) {
    if sb.data().marks.take_news() {
        sb.file_changed(ERRORS);
    }
}

/// Something of the errors that were found.
fn error(sb: &Sb, show: impl FnOnce(&ErrorMark) -> Shown) -> Result<Shown> {
    Ok(show(&marks::known(sb)?))
}

fn show_limit(limit: &Atomic<u32>) -> Shown {
    u64::from(limit.load(Relaxed)).into()
}

fn store_limit(limit: &Atomic<u32>, text: &Written<'_>) -> Result {
    let new = u32::try_from(text.number()?).map_err(|_| ERANGE)?;
    limit.store(new, Relaxed);
    Ok(())
}

/// The thread that commits, as the reader's namespace numbers it.
fn journal_task(sb: &Sb) -> Result<Shown> {
    Ok(match sb.data().journal() {
        Some(journal) => u64::from(journal.task_pid()).into(),
        None => Shown::Word(c"<none>"),
    })
}

/// Has an error found, for tests of what is done about it.
fn trigger_error(sb: &Sb, text: &Written<'_>) -> Result {
    if !cred::is_admin() {
        return Err(EPERM);
    }
    let text = text.bytes();
    let text = text.strip_suffix(b"\n").unwrap_or(text);
    if !text.is_empty() {
        sb.corrupted(fmt!("{}", BStr::from_bytes(text)));
    }
    Ok(())
}
