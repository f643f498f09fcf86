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
    match e.name.strip_prefix("rext4_") {
        Some(name) => asked(name, e)
            .or_else(|| mapped(name, e, seq))
            .or_else(|| reserved(name, e, seq))
            .or_else(|| changed(name, e)),
        None => of_the_page_cache(e),
    }
}

/// What a program or writeback asks for, and what becomes of it.
fn asked(name: &str, e: &Event) -> Option<String> {
    Some(match name {
        "buffered_read" => format!("buffered read of {}", bytes(e)),
        "buffered_write" => format!("buffered write to {}", bytes(e)),
        "dio_read" => format!("direct read of {}", bytes(e)),
        "dio_write" => format!("direct write to {}", bytes(e)),
        "dio_fall_back" => "falls back to the page cache".into(),
        "dio_end_io" => match e.get("error") {
            Some("0") | None => "direct I/O is on disk".into(),
            Some(n) => format!("direct I/O failed: {n}"),
        },
        "page_mkwrite" => format!("page_mkwrite of {}", bytes(e)),
        "page_mkwrite_done" => match e.get("result") {
            Some(r) if r.contains("SIGBUS") => "page_mkwrite: no space, SIGBUS".into(),
            _ => "page_mkwrite: the page is dirty".into(),
        },
        "zero_tail" => format!("zeroes {}", bytes(e)),
        "writeback_range" => format!("writeback of {}", bytes(e)),
        "writeback_end_io" => format!("I/O of {} is done", bytes(e)),
        "fsync" => "fsync".into(),
        _ => return None,
    })
}

/// A number of the event, with what it is and on the same line.
fn numbered(what: &str, e: &Event, field: &str) -> String {
    format!("{what}{NBSP}{}", e.num(field).unwrap_or(0))
}

/// Behind a sentence: the sequence number, where it is part of the story.
fn counted(e: &Event, seq: bool) -> String {
    match seq {
        true => numbered(", seq", e, "seq"),
        false => String::new(),
    }
}

/// Extents, as they are looked up and as they change.
fn mapped(name: &str, e: &Event, seq: bool) -> Option<String> {
    let at = match e.num("pblk") {
        Some(0) | None => String::new(),
        Some(_) => numbered(" at", e, "pblk"),
    };
    let (blocks, state, counted) = (blocks(e), state(e), counted(e, seq));
    Some(match name {
        "map" if e.get("flags").is_some_and(|f| f.contains("REPORT")) => return None,
        "map" => format!("extent map: {blocks} {state}{at}{counted}"),
        "write_stale" | "writeback_stale" => format!(
            "its mapping is stale: {}, {}",
            numbered("seq", e, "map_seq"),
            numbered("now", e, "seq")
        ),
        "extent_insert" => format!("allocates {blocks}{at}: {state}{counted}"),
        "extent_convert" => format!("{blocks} becomes {state}{counted}"),
        "extent_remove" => format!("removes the extents of {blocks}{counted}"),
        "extent_free" => {
            let (first, n) = (e.num("pblk").unwrap_or(0), e.num("len").unwrap_or(1));
            format!("frees disk {}", one_or_more("block", first, n))
        }
        _ => return None,
    })
}

/// Blocks that are promised, and what becomes of the promise.
fn reserved(name: &str, e: &Event, seq: bool) -> Option<String> {
    Some(match name {
        "reserve_take" => match (e.num("reserved"), e.num("nr")) {
            (Some(all), Some(n)) if all > n => {
                format!("reserves {}: {all} reserved in all", blocks(e))
            }
            _ => format!("reserves {}{}", blocks(e), counted(e, seq)),
        },
        "reserve_use" => "uses the reservation".into(),
        "reserve_release" => match e.num("nr") {
            Some(0) | None => return None,
            Some(n) => format!("gives back {n} reserved"),
        },
        _ => return None,
    })
}

/// Sizes, the gate, and the steps of what removes blocks.
fn changed(name: &str, e: &Event) -> Option<String> {
    Some(match name {
        "step" => step(e)?,
        "isize" => format!("i_size {}", sizes(e)),
        "disize" => format!("size on disk {}", sizes(e)),
        "gate" => match e.get("action") {
            Some("CLOSED") => "closes the gate".into(),
            Some("OPENED") => "opens the gate".into(),
            Some("WAIT") => "waits at the gate".into(),
            _ => "passes the gate".into(),
        },
        _ => return None,
    })
}

/// Events of the kernel.
fn of_the_page_cache(e: &Event) -> Option<String> {
    Some(match e.name.as_str() {
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
