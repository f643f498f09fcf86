// SPDX-License-Identifier: GPL-2.0
//! Events in short words.

use super::parse::Event;

#[derive(Clone, Debug)]
pub struct File {
    pub name: String,
    /// Only where its blocks are is of interest.
    pub quiet: bool,
}

const PAGE: u64 = 4096;
/// Keeps two words on one line.
pub const NBSP: char = '\u{a0}';

fn one_or_more(what: &str, first: u64, count: u64) -> String {
    match count {
        0 | 1 => format!("{what} {first}"),
        n => format!("{what}s {first}-{}", first + n - 1),
    }
}

fn blocks(e: &Event) -> String {
    match (e.num("lblk"), e.num("len")) {
        (Some(0), Some(n)) if n >= u64::from(u32::MAX) => "all blocks".into(),
        (Some(first), Some(n)) if first + n >= u64::from(u32::MAX) => {
            format!("blocks {first} and up")
        }
        (Some(first), Some(n)) => one_or_more("block", first, n),
        _ => "?".into(),
    }
}

fn bytes(e: &Event) -> String {
    let (pos, n) = (e.num("pos").unwrap_or(0), e.num("bytecount").unwrap_or(0));
    match pos.checked_add(n) {
        Some(end) if end < 1 << 40 => format!("{pos}..{end}"),
        _ => format!("{pos}.."),
    }
}

/// The state of blocks, as the names of `IOMAP_*`.
fn state(e: &Event) -> &'static str {
    match e.get("type") {
        Some("MAPPED") => "written",
        Some("UNWRITTEN") => "unwritten",
        Some("DELALLOC") => "reserved",
        _ => "a hole",
    }
}

/// The page that an event of the page cache is about.
pub fn page(e: &Event) -> Option<u64> {
    match e.name.as_str() {
        "mm_filemap_add_to_page_cache" | "mm_filemap_delete_from_page_cache" => {
            Some(e.num("ofs")? / PAGE)
        }
        _ => None,
    }
}

/// What happened to `count` pages.
pub fn pages(name: &str, first: u64, count: u64) -> String {
    let what = one_or_more("page", first, count);
    let (one, more) = match name {
        "mm_filemap_add_to_page_cache" => ("enters", "enter"),
        _ => ("leaves", "leave"),
    };
    let verb = if count > 1 { more } else { one };
    format!("{what} {verb} the page cache")
}

/// `None`: not worth a line. `seq`: sequence numbers are part of the story.
pub fn words(e: &Event, seq: bool) -> Option<String> {
    let count = || e.num("seq").unwrap_or(0);

    let disk = || e.num("pblk").unwrap_or(0);
    let at = match disk() {
        0 => String::new(),
        b => format!(" at{NBSP}{b}"),
    };
    let counted = || match seq {
        true => format!(", seq{NBSP}{}", count()),
        false => String::new(),
    };

    Some(match e.name.as_str() {
        "rext4_buffered_read" => format!("buffered read of {}", bytes(e)),
        "rext4_buffered_write" => format!("buffered write to {}", bytes(e)),
        "rext4_dio_read" => format!("direct read of {}", bytes(e)),
        "rext4_dio_write" => format!("direct write to {}", bytes(e)),
        "rext4_dio_fall_back" => "falls back to the page cache".into(),
        "rext4_page_mkwrite" => format!("page_mkwrite of {}", bytes(e)),
        "rext4_page_mkwrite_done" => match e.get("result") {
            Some(r) if r.contains("SIGBUS") => "page_mkwrite: no space, SIGBUS".into(),
            _ => "page_mkwrite: the page is dirty".into(),
        },
        "rext4_zero_tail" => format!("zeroes {}", bytes(e)),
        "rext4_writeback_range" => format!("writeback of {}", bytes(e)),
        "rext4_writeback_end_io" => format!("I/O of {} is done", bytes(e)),
        "rext4_fsync" => "fsync".into(),
        "rext4_map" => {
            if e.get("flags").is_some_and(|f| f.contains("REPORT")) {
                return None;
            }
            format!("extent map: {} {}{at}{}", blocks(e), state(e), counted())
        }
        "rext4_write_stale" | "rext4_writeback_stale" => format!(
            "its mapping is stale: seq{NBSP}{}, now{NBSP}{}",
            e.num("map_seq").unwrap_or(0),
            count()
        ),
        "rext4_extent_insert" => {
            format!("allocates {}{at}: {}{}", blocks(e), state(e), counted())
        }
        "rext4_extent_convert" => format!("{} becomes {}{}", blocks(e), state(e), counted()),
        "rext4_extent_remove" => format!("removes the extents of {}{}", blocks(e), counted()),
        "rext4_extent_free" => {
            let n = e.num("len").unwrap_or(1);
            format!("frees disk {}", one_or_more("block", disk(), n))
        }
        "rext4_reserve_take" => match (e.num("reserved"), e.num("nr")) {
            (Some(all), Some(n)) if all > n => {
                format!("reserves {}: {all} reserved in all", blocks(e))
            }
            _ => format!("reserves {}{}", blocks(e), counted()),
        },
        "rext4_reserve_use" => "uses the reservation".into(),
        "rext4_reserve_release" => match e.num("nr") {
            Some(0) | None => return None,
            Some(n) => format!("gives back {n} reserved"),
        },
        "rext4_step" => step(e)?,
        "rext4_dio_end_io" => match e.get("error") {
            Some("0") | None => "direct I/O is on disk".into(),
            Some(n) => format!("direct I/O failed: {n}"),
        },
        "rext4_isize" => format!("i_size {}", sizes(e)),
        "rext4_disize" => format!("size on disk {}", sizes(e)),
        "rext4_gate" => match e.get("action") {
            Some("CLOSED") => "closes the gate".into(),
            Some("OPENED") => "opens the gate".into(),
            Some("WAIT") => "waits at the gate".into(),
            _ => "passes the gate".into(),
        },
        "writeback_dirty_folio" => {
            format!("page {} becomes dirty", e.num("index").unwrap_or(0))
        }
        "iomap_dio_invalidate_fail" => "a page cannot be invalidated".into(),
        "mm_filemap_add_to_page_cache" | "mm_filemap_delete_from_page_cache" => {
            pages(&e.name, page(e)?, 1)
        }
        _ => return None,
    })
}

fn sizes(e: &Event) -> String {
    format!(
        "{} -> {}",
        e.num("old_size").unwrap_or(0),
        e.num("new_size").unwrap_or(0)
    )
}

fn step(e: &Event) -> Option<String> {
    Some(match e.get("step")? {
        "LOCKED" => "has i_rwsem and invalidate_lock".into(),
        "DRAINED" => "no direct I/O is in flight".into(),
        "CACHE_DROPPED" => "the page cache is dropped".into(),
        "BLOCKS_REMOVED" => "the blocks are removed".into(),
        _ => return None,
    })
}
