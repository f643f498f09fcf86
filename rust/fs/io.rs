// SPDX-License-Identifier: GPL-2.0

//! The data path. Read this folder to see where each race is closed.
//!
//! ```text
//!   map.rs        an iomap and its validity cookie: rule 3
//!   buffered.rs   reads and writes through the page cache: rules 11, 12
//!   delalloc.rs   their mappings, and what they reserve: rules 3, 4, 6
//!   allocate.rs   blocks for data, whoever asks: rules 2, 4, 10
//!   writeback.rs  dirty folios to blocks, completion: rules 2, 3, 10, 14
//!   mmap.rs       write faults: rules 1, 6
//!   direct.rs     direct I/O and its locks: rules 7, 8, 9, 11, 14
//!   direct/map.rs its mappings and completion: rules 4, 7
//!   pinned.rs     pages that a device stores into stay: rule 7
//!   gate.rs       nobody fills the page cache below a direct write: rule 9
//!   steps.rs      blocks go in four steps, the first two: rules 1, 5, 13
//!   remove.rs     the last two: rules 4, 5
//!   eof.rs        zeros behind the end: rule 11
//!   truncate.rs   file size, both ways: rules 5, 11, 14
//!   fallocate.rs  allocate, punch, zero: rules 5, 14
//!   zeroes.rs     zeros that are written: rules 2, 5, 11, 14
//!   shift.rs      collapse and insert range: rules 3, 5, 11
//!   exchange.rs   two files exchange blocks: rules 2, 5, 11, 14
//!   dax.rs        files whose pages are the device's memory: rule 13
//!   seek.rs       SEEK_HOLE and SEEK_DATA: rule 3, without a folio
//!   fsync.rs      what must be durable, and what is written unasked: rules 2, 12
//! ```
//!
//! The rules are in Documentation/data-path.md. A file begins with those it keeps, and the line
//! that keeps one says its number; "race 1" is drawn in Documentation/races/. Three orders hold
//! everywhere:
//!
//! - Locks, as rule 1 draws it.
//! - Blocks go away only after the page cache above them is gone and direct I/O has drained.
//! - Data reaches the disk before the metadata that makes it visible.
//!
//! # Contexts
//!
//! What C calls, from where, and what is allowed there; the other callbacks are in
//! [`ops`](super::ops). Locks are exclusive where nothing is said; of folio locks and PG_writeback
//! those of the range are meant. Handle: it `starts` one; it `waits` for a commit; the locks
//! `allow` both, it does neither; `never`.
//!
//! | callback | C function | holds on entry | context | sleeps | handle |
//! |---|---|---|---|---|---|
//! | `read_iter`: `buffered_read`, `direct_read`, `dax_read` | `vfs_read`, `io_read` | nothing | task | yes | starts (atime) |
//! | `write_iter`: `buffered_write`, `direct_write`, `dax_write` | `vfs_write`, `io_write` | freeze WRITE | task | yes | starts |
//! | `fsync::fsync` | `vfs_fsync_range` | nothing; swapon, or a direct write with O_SYNC that waits: i_rwsem; MAP_SYNC: as `DaxOps::begin` of a fault, without the entry | task | yes | starts, waits |
//! | `fallocate::fallocate` | `vfs_fallocate` | freeze WRITE | task | yes | starts |
//! | `truncate::set_size` | `notify_change` | freeze WRITE, i_rwsem | task | yes | starts |
//! | `seek::seek` | `vfs_llseek` | nothing | task | yes | allow |
//! | `release`: `fsync::after_close` | `__fput` | nothing | task | yes | starts |
//! | `mmap::page_mkwrite` | `do_page_mkwrite` | mmap_lock or the VMA's, shared; i_rwsem if direct I/O touches the memory | task | yes | starts |
//! | `dax::dax_fault` | `do_fault`, `do_page_mkwrite`, `wp_pfn_shared` | mmap_lock or the VMA's, shared; i_rwsem if direct I/O touches the memory | task | yes | starts |
//! | `DaxOps::begin` | `dax_iomap_rw` | i_rwsem, for a read shared | task | yes | starts, waits |
//! |  | `dax_iomap_fault` | as `dax_fault`; freeze PAGEFAULT for a store, invalidate_lock shared, the entry of the page | task | yes | starts, waits |
//! |  | `dax_zero_range` | i_rwsem, invalidate_lock | task | yes | allow |
//! | `ReadOps::begin` | `iomap_read_folio` of `filemap_read_folio` | the folio, invalidate_lock shared, in a fault mmap_lock; of `do_read_cache_folio` (swapon, uprobes) the folio only | task | yes | allow |
//! |  | `iomap_readahead` of `read_pages` | all folios, invalidate_lock shared | task, NOFS | yes | allow |
//! |  | `iomap_fiemap` | nothing | task | yes | allow |
//! |  | `iomap_bmap` | nothing; the journal's own inode: it is opened (`jbd2_journal_init_inode`) | task | yes | never |
//! | `SwapOps::begin` | `iomap_swapfile_activate` of `swapon` | i_rwsem | task | yes | allow |
//! | `seek::Cached::begin`, `seek::Allocated::begin` | `iomap_seek_hole`, `iomap_seek_data` | i_rwsem shared | task | yes | allow |
//! | `is_guarded`, `may_fill` of `gate.rs` | `filemap_read_folio`, `read_pages`, `__iomap_get_folio` | the folio, added just now; what these hold | task | yes, not for the gate | allow |
//! | `wait_to_fill`: `gate::wait` | `filemap_read_folio`, `__iomap_get_folio` | no folio; what these hold | task | yes | allow |
//! | `may_release`: `pinned::may_drop` | `filemap_release_folio` | the folio; from reclaim: whatever the task holds, a handle too | task | if `gfp` says so; it does not | never |
//! | `BufferedWriteOps::begin` | `iomap_file_buffered_write` | freeze WRITE, i_rwsem | task | yes | starts (`Effort::Room`), waits |
//! |  | `iomap_zero_range` | i_rwsem, invalidate_lock | task | yes | starts, waits |
//! |  | `iomap_page_mkwrite` | as `page_mkwrite`; freeze PAGEFAULT, invalidate_lock shared, the folio | task | yes | waits |
//! | `BufferedWriteOps::end` | `iomap_iter` | as `begin`; does something in write(2) only | task | yes | starts (writes out), waits |
//! | `Unreserve::release`, `Unexpect::release` | `iomap_write_delalloc_release` | i_rwsem, invalidate_lock, a folio or none | task | yes | allow |
//! | `BufferedWriteOps::valid` | `iomap_write_begin` | as `begin` of write(2) or zeroing; the folio | task | yes | allow |
//! | `writeback::map_blocks` | `iomap_writeback_folio` of `do_writepages` | freeze FS, the folio, PG_writeback; of its caller: s_umount shared (flusher, sync), or nothing, i_rwsem, invalidate_lock | task | yes | starts, waits |
//! | `writeback::discard` | the same, after an error | the same | task | yes | allow |
//! |  | `truncate_error_folio` | the folio | task | yes | allow |
//! | `writeback::needs_completion` | `iomap_add_to_ioend`, `iomap_writepages` | as `map_blocks`, with the folio or after it | task | yes | allow |
//! | `writeback::may_submit` | `iomap_add_to_ioend`, `iomap_writepages` | as `map_blocks`, with the folio or after it | task | yes | allow |
//! | `end_bio` in `vfs/writeback/complete.rs`, `end` in `vfs/blk_crypto/read.rs` | `bio_endio` | PG_writeback; the folio | any, interrupt | no | never |
//! | `writeback::complete` | `process_one_work` | PG_writeback | worker, NOFS | yes | starts, waits |
//! | `writeback::failed` | the same, after an error | PG_writeback | worker, NOFS | yes | allow |
//! | both | `submit_bio` of a device that is memory, for who waits | as `map_blocks`, with the folio or after it | task, NOFS | yes | starts, waits |
//! | `DirectReadOps::begin` | `__iomap_dio_rw`, `iomap_dio_read_simple` | i_rwsem shared | task | yes | starts (writes out) |
//! | `DirectWriteOps::dropping_cache`, `cache_dropped` | before `__iomap_dio_rw`; in it, or after | freeze WRITE, i_rwsem shared or not, with `dio_gate` the gate | task | yes | allow |
//! | `DirectWriteOps::begin` | `__iomap_dio_rw` | the same | task | yes | starts, waits |
//! | `DirectWriteOps::is_done` | `iomap_dio_complete` | anything | any, interrupt | no | never |
//! | `DirectWriteOps::end_io` | `iomap_dio_complete` of `iomap_dio_complete_work` | freeze WRITE, with `dio_gate` the gate | worker | yes | starts, waits |
//! |  | the same, of `iomap_dio_rw`: the writer waits | i_rwsem besides | task | yes | starts, waits |
//! | `Gate::close` | before `__iomap_dio_rw`, with `dio_gate` | freeze WRITE, i_rwsem shared or not | task | yes | allow |
//! | drop of `gate::Closed` | `ki_complete`; the writer that waits | anything | any, interrupt | no | never |
//!
//! - With `IOMAP_NOWAIT` a `begin` does not sleep for a lock or for the disk, but says `EAGAIN`.
//! - Where none may sleep it takes spinlocks at most.
//! - User memory that is touched may be a mapping of any file: rule 8 says what may be held then.
//! - The lab has a few more: `added`, `before_folio`, `submit`, `before_invalidate`.

use super::{access::Access, Inode, Rext4};
use crate::vfs::{kiocb::RequestLock, uio, IovIterSource, Kiocb};
use kernel::{error::code::*, prelude::*};

mod allocate;
pub(crate) mod buffered;
pub(crate) mod dax;
mod delalloc;
pub(crate) mod direct;
mod eof;
pub(crate) mod exchange;
pub(crate) mod fallocate;
pub(crate) mod fsync;
pub(crate) mod gate;
pub(crate) mod map;
pub(crate) mod mmap;
pub(crate) mod pinned;
pub(crate) mod remove;
pub(crate) mod seek;
mod shift;
pub(crate) mod steps;
pub(crate) mod truncate;
pub(crate) mod writeback;
mod zeroes;

/// `EROFS` if nothing may be written any more although files are open for it: after an error
/// (`errors=remount-ro`), an emergency remount, or when the journal has died; `EIO` after a
/// shutdown. What would go to the page cache now could never be written.
pub(super) fn check_writable(inode: &Inode) -> Result {
    let fs = inode.fs();
    let alive = fs.journal().is_some_and(|j| !j.is_aborted());
    match fs.access.get() {
        Access::Writing | Access::Frozen if alive => Ok(()),
        _ => Err(fs.access.refusal()),
    }
}

/// The limits of a write, that of the file's map among them: may shorten `from`. Returns the bytes
/// left.
fn write_checks<'a, L>(
    iocb: &mut Kiocb<'a, Rext4>,
    from: &mut IovIterSource<'_>,
    lock: &RequestLock<'a, L>,
) -> Result<usize> {
    let count = iocb.write_checks(from, lock)?;
    let most = iocb.inode().max_size();
    if count > 0 && iocb.pos() >= most {
        return Err(EFBIG);
    }
    let left = most.saturating_sub(iocb.pos());
    Ok(uio::shorten(from, left))
}
