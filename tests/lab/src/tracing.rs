// SPDX-License-Identifier: GPL-2.0
//! Recording: a tracing instance of our own, and what the scenario itself says into it.

use guest::sys::{self, Fd, Sys};
use std::cell::RefCell;
use std::sync::OnceLock;

const TRACEFS: &str = "/sys/kernel/tracing";
const INSTANCE: &str = "/sys/kernel/tracing/instances/lab";

/// Beside the events of rext4: pages that enter and leave the page cache, or become dirty.
const EVENTS: &[&str] = &[
    "rext4",
    "filemap/mm_filemap_add_to_page_cache",
    "filemap/mm_filemap_delete_from_page_cache",
    "iomap/iomap_dio_invalidate_fail",
    "writeback/writeback_dirty_folio",
];

static MARKER: OnceLock<Fd> = OnceLock::new();

/// Says something into the trace. Without tracing there is no picture, and the race goes on.
pub fn mark(text: &str) {
    if let Some(f) = MARKER.get() {
        let _ = f.write(text.as_bytes());
    }
}

/// What the calling thread is about to do.
pub fn step(words: &str) {
    mark(&format!("step {}: {words}", me()));
}

thread_local! {
    static ROLE: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// The calling thread goes on in the column `name`: what the conductor does itself is another
/// thread's part in the story.
pub fn play(name: &str) {
    ROLE.with(|r| *r.borrow_mut() = Some(name.to_string()));
    mark(&format!("role {name}"));
}

/// The name of the calling thread, which is a column of the picture.
pub fn me() -> String {
    if let Some(role) = ROLE.with(|r| r.borrow().clone()) {
        return role;
    }
    match std::thread::current().name() {
        // The conductor: it arms, releases, and looks at what came of it.
        None | Some("main") => "check".into(),
        Some(name) => name.into(),
    }
}

/// Starts to record.
pub fn start() -> Sys<()> {
    if !sys::exists(&format!("{TRACEFS}/instances")) {
        let _ = sys::mount("tracefs", TRACEFS, "tracefs", 0, "");
    }
    if !sys::exists(INSTANCE) {
        sys::mkdir(INSTANCE, 0o755)?;
    }
    let set = |file: &str, text: &str| sys::write_file(&format!("{INSTANCE}/{file}"), text);
    set("tracing_on", "0")?;
    // The same clock on all CPUs: the order of lines is the order of events.
    set("trace_clock", "global")?;
    set("buffer_size_kb", "2048")?;
    for e in EVENTS {
        let file = format!("{INSTANCE}/events/{e}/enable");
        if sys::exists(&file) {
            sys::write_file(&file, "1")?;
        }
    }
    forget()?;
    set("tracing_on", "1")?;
    join()
}

/// Takes part in a recording that another process has started.
pub fn join() -> Sys<()> {
    if MARKER.get().is_none() {
        let marker = sys::open(&format!("{INSTANCE}/trace_marker"), libc::O_WRONLY, 0)?;
        let _ = MARKER.set(marker);
    }
    Ok(())
}

/// Drops what was recorded so far.
pub fn forget() -> Sys<()> {
    // Opened with O_TRUNC, the buffer is emptied.
    sys::write_file(&format!("{INSTANCE}/trace"), "")
}

/// Ends the recording and writes it to a file.
pub fn save(path: &std::path::Path) -> std::io::Result<()> {
    let _ = sys::write_file(&format!("{INSTANCE}/tracing_on"), "0");
    let text = std::fs::read(format!("{INSTANCE}/trace"))?;
    std::fs::write(path, text)
}
