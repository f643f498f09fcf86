// SPDX-License-Identifier: GPL-2.0
//! khugepaged makes one large folio of many small ones, while a direct write waits for one of them.

use super::{gate, PAGE};
use crate::broken;
use crate::lab::Lab;
use crate::race::{Race, Res, RACE};
use crate::thread::{Task, Thread};
use crate::tracing::step;
use guest::harness::K1;
use guest::map::Map;
use guest::sys::{Aligned, Fd, Sys};
use std::sync::Arc;

/// What becomes one folio.
const HUGE: usize = 2 << 20;
/// Between two tries.
const PAUSE: std::time::Duration = std::time::Duration::from_millis(5);
/// How often it is tried, until it is called impossible.
const TRIES: usize = 2000;

/// khugepaged is put to rest, or it may come before us: MADV_COLLAPSE does not ask for this
/// setting.
fn huge_folios() -> Result<(), String> {
    std::fs::write("/sys/kernel/mm/transparent_hugepage/enabled", "never")
        .map_err(|_| "this kernel has no huge pages (CONFIG_TRANSPARENT_HUGEPAGE)".into())
}

/// Reads the file into the page cache, a small folio for each page. The thread has no column in the
/// picture: it would have 512 of everything.
fn read_pages(f: &Fd) -> Sys<()> {
    read_up_to(f, HUGE)
}

/// As [`read_pages`], and no more than `len` bytes.
fn read_up_to(f: &Fd, len: usize) -> Sys<()> {
    let pages = || -> Sys<()> {
        f.advise(libc::POSIX_FADV_RANDOM)?;
        for at in (0..len).step_by(PAGE) {
            f.pread(&mut [0; PAGE], at as u64)?;
        }
        Ok(())
    };
    std::thread::scope(|s| s.spawn(pages).join()).expect("no panic")
}

const WORDS: &str = "madvise(MADV_COLLAPSE): one folio of 2 MiB for 512 small ones";

/// Makes one folio of the file's pages, or finds that it may have no such folio.
fn collapse(m: &Map) -> Sys<()> {
    // A page may be on its way through some list of the kernel.
    let mut tries = 0..TRIES;
    loop {
        match m.collapse() {
            Err(e) if e.errno != libc::EINVAL && tries.next().is_some() => {
                std::thread::sleep(PAUSE);
            }
            end => {
                if end.is_ok() {
                    step("the page cache has one folio for all pages: 'A'");
                }
                return end;
            }
        }
    }
}

/// Did the collapser park, with page 0 locked and looked at, and the next one in its hands? If not,
/// `end` tells how it went.
fn has_parked<T: Task>(
    lab: &Lab,
    collapser: T,
    end: impl FnOnce(T) -> Res<Sys<()>>,
) -> Res<Option<T>> {
    if lab.parked(&collapser, "folio-release")? {
        return Ok(Some(collapser));
    }
    match end(collapser)? {
        Err(e) if e.errno == libc::EINVAL => (),
        other => broken!("nobody came to folio-release: {other:?}"),
    }
    lab.caught("collapser", "EINVAL: files have no folios of that size");
    Ok(None)
}

/// Begins to make one folio of the file's pages. `None`: the file may have no such folio.
fn begin_collapse(lab: &Lab, f: &Fd, m: &Arc<Map>) -> Res<Option<Thread<Sys<()>>>> {
    // Folios of more than one block have a state to let go of.
    lab.arm_at("folio-release", f, PAGE as u64)?;
    let m = m.clone();
    let collapser = lab.thread("collapser", WORDS, move || collapse(&m))?;
    has_parked(lab, collapser, |t| t.join())
}

/// A direct write of 'D' to page 0.
fn write(lab: &Lab, f: &Fd) -> Res<Thread<Sys<()>>> {
    let direct = lab.direct(f)?;
    lab.thread("direct", "direct write: 'D' to page 0", move || {
        direct.pwrite(&Aligned::of(&[b'D'; PAGE]), 0)
    })
}

pub static DIO_VS_COLLAPSE: Race = Race {
    row: "6b",
    name: "dio-vs-collapse",
    title: "The old page is replaced while the invalidation waits for it",
    story: "khugepaged holds the locks of 512 old pages and copies them to one huge folio. The \
            invalidation after a direct write waits for one of the locks, finds a page that nobody \
            has any more, and passes on. Reads return the old data from the huge folio, for ever \
            and without an error.",
    off: &["folio-order"],
    var: K1,
    needs: huge_folios,
    run: dio_vs_collapse,
    ..RACE
};

fn dio_vs_collapse(lab: &mut Lab) -> Res {
    let f = lab.file("f", &[b'A'; HUGE])?;
    lab.evict(&f)?;
    let m = Arc::new(Map::huge(&f, HUGE)?);
    lab.given("f: 2 MiB of 'A', mapped; no page in the page cache", &[&f])?;

    lab.arm("dio-mapped", &f)?;
    let writer = write(lab, &f)?;
    lab.wait("dio-mapped")?;
    lab.play("reader");
    step("reads all of the file: 'A', in 512 folios");
    read_pages(&f)?;
    let collapser = begin_collapse(lab, &f, &m)?;
    lab.release("dio-mapped")?;
    if let Some(collapser) = collapser {
        lab.until_blocked(&writer, "invalidates: waits for page 0")?;
        lab.release("folio-release")?;
        collapser.join()??;
    }
    writer.join()??;
    lab.play("reader");
    step("fsync");
    f.fsync()?;
    lab.reads(&f, 0, &[b'D'; PAGE], "read(2) returns the old page")?;
    lab.on_disk(&f, 0, &[b'D'; PAGE], "the disk has the old data")
}

pub static GATE_VS_COLLAPSE: Race = Race {
    row: "11c",
    name: "gate-vs-collapse",
    title: "A page comes back below the closed gate",
    story: "The invalidation before a direct write waits for a page that khugepaged replaces \
            meanwhile, and passes on. The huge folio is in the page cache without having come \
            through the gate, and can be dirtied while the write is on its way.",
    off: &["folio-order"],
    var: K1,
    needs: huge_folios,
    mount: "dio_gate",
    run: gate_vs_collapse,
    ..RACE
};

fn gate_vs_collapse(lab: &mut Lab) -> Res {
    let f = lab.file("f", &[b'A'; HUGE])?;
    lab.evict(&f)?;
    read_pages(&f)?;
    let m = Arc::new(Map::huge(&f, HUGE)?);
    lab.given("f: 2 MiB of 'A', mapped, in 512 folios", &[&f])?;

    let collapser = begin_collapse(lab, &f, &m)?;
    lab.arm("dio-mapped", &f)?;
    let writer = write(lab, &f)?;
    if let Some(collapser) = collapser {
        lab.until_blocked(&writer, "invalidates: waits for page 0")?;
        lab.release("folio-release")?;
        collapser.join()??;
    }
    lab.wait("dio-mapped")?;
    let storer = gate::store(lab, &m)?;
    lab.release("dio-mapped")?;
    writer.join()??;
    storer.join()?;
    gate::store_came_second(lab, &f, &m, &[&b"S"[..], &[b'D'; PAGE - 1]].concat())
}

pub static COLLAPSE_VS_PUNCH: Race = Race {
    row: "23",
    name: "collapse-vs-punch",
    title: "Folio locks before invalidate_lock, and after it",
    story: "khugepaged has locked the pages it has found and reads in one that is missing, which \
            takes invalidate_lock. A punch holds that and waits for one of the pages. Neither can \
            be killed.",
    off: &["folio-order"],
    var: K1,
    needs: huge_folios,
    for_good: true,
    run: collapse_vs_punch,
    ..RACE
};

fn collapse_vs_punch(lab: &mut Lab) -> Res {
    let f = lab.file("f", &[b'A'; HUGE])?;
    lab.evict(&f)?;
    read_up_to(&f, HUGE - PAGE)?;
    let m = Map::huge(&f, HUGE)?;
    lab.given(
        "f: 2 MiB of 'A', mapped; all pages but the last one are in the page cache",
        &[&f],
    )?;

    lab.arm_at("folio-release", &f, PAGE as u64)?;
    let collapser = lab.process("collapser", WORDS, || collapse(&m).map(|()| 0))?;
    let collapser = has_parked(lab, collapser.for_good(), |p| Ok(p.join()?.map(|_| ())))?;
    let words = "fallocate: punches page 0";
    let puncher = lab.process("puncher", words, || f.punch(0, PAGE as u64).map(|()| 0))?;
    let puncher = puncher.for_good();
    let Some(collapser) = collapser else {
        puncher.join()??;
        lab.play("puncher");
        return lab.reads(&f, 0, &[0; PAGE], "the hole is not empty");
    };
    lab.until_blocked(&puncher, "has invalidate_lock, waits for page 0")?;
    lab.release("folio-release")?;
    lab.until_blocked(&collapser, "has page 0, waits for invalidate_lock")?;
    // Whoever is looked at first: they wait for each other.
    let (first, second) = (puncher.join(), collapser.join());
    first??;
    second??;
    Ok(())
}
