// SPDX-License-Identifier: GPL-2.0
//! Space that must be promised once, and before the data is accepted.

use super::PAGE;
use crate::lab::{evict, resident, symbol, Lab};
use crate::race::{Race, Res, RACE};
use crate::tracing::step;
use crate::{broken, harm};
use guest::dm::{self, Dm};
use guest::fixture::MNT2;
use guest::harness::K1;
use guest::map::{self, Map};
use guest::sys::{self, Fd};
use std::sync::Arc;

pub static DOUBLE_RESERVE: Race = Race {
    row: "5",
    name: "double-reserve",
    title: "A write and a page fault fill the same hole",
    story: "Both look the block up and find a hole, then both reserve space for it. One reservation is \
            used, the other is never given back.",
    off: &["one-lookup"],
    run: double_reserve,
    ..RACE
};

fn double_reserve(lab: &mut Lab) -> Res {
    let f = lab.empty("f")?;
    f.truncate(PAGE as u64)?;
    f.fsync()?;
    let m = Map::shared(&f, PAGE)?;
    lab.given("f: 4096 bytes, a hole, mapped", &[&f])?;

    lab.arm("reserve-looked-up", &f)?;
    let writer = lab.thread("writer", "write(2): 'W' to block 0", {
        let f = f.clone();
        move || f.pwrite(&[b'W'; 100], 0)
    })?;
    // With the protection on there is no window to stop in: the write is done.
    let window = lab.parked(&writer, "reserve-looked-up")?;
    let storer = lab.thread(
        "storer",
        "stores 'S' into block 0 through the mapping",
        move || m.set(200, b'S'),
    )?;

    storer.join()?;
    if window {
        lab.release("reserve-looked-up")?;
    } else {
        lab.caught(
            "writer",
            "there is no moment between lookup and reservation",
        );
    }

    writer.join()??;

    lab.play("writer");
    let mut want = vec![0; PAGE];
    want[..100].fill(b'W');

    want[200] = b'S';
    step("fsync f");
    f.fsync()?;
    lab.evict(&f)?;
    lab.reads(&f, 0, &want, "f lost data")?;
    lab.nothing_lost(&f)
}

pub static DIRTY_OVER_HOLE: Race = Race {
    row: "12a",
    name: "dirty-over-hole",
    title: "A page becomes dirty though nobody reserved for it",
    story: "A direct read of another file stores into a page of f, and has pinned it. While the disk is \
            slow f is synced and a block of that page is punched. The read arrives and makes the \
            whole page dirty, the hole included; writeback drops what is dirty over a hole.",
    off: &["fill-unreserved"],
    var: K1,
    catch: &["rext4_extent_insert"],
    kernel: &["writeback_dirty_folio"],
    run: dirty_over_hole,
    ..RACE
};

/// A file of a page on a file system of its own, and its device, which can be held.
fn on_slow_disk(lab: &mut Lab) -> Res<(Dm, Fd)> {
    let Some(disk) = lab.t.disks.get(1).cloned() else {
        broken!("needs a second disk");
    };
    let slow = dm::start("slow", &[dm::linear(&disk, 0, 64)])?;
    lab.t.dms.push(slow.clone());
    lab.t.mkfs_on(&slow.path, 64, &[])?;
    let fs = lab.t.fs.clone();
    lab.t
        .mount_as(&slow.path, MNT2, &fs, libc::MS_NOATIME, "")?;
    let g = sys::direct(&format!("{MNT2}/g"))?;
    g.pwrite(&sys::Aligned::of(&[b'G'; PAGE]), 0)?;
    g.fsync()?;
    Ok((slow, g))
}

fn dirty_over_hole(lab: &mut Lab) -> Res {
    let (slow, g) = on_slow_disk(lab)?;
    let f = lab.file("f", &[b'A'; PAGE])?;
    let m = Arc::new(Map::shared(&f, PAGE)?);
    lab.given(
        "f: four blocks of 1 KiB in one page, mapped; g: on another, slow disk",
        &[&f],
    )?;

    slow.suspend()?;
    let reader = lab.thread("reader", "direct read of g into the mapping of f", {
        let m = m.clone();
        move || g.pread(m.as_mut_slice(0, PAGE), 0)
    })?;
    lab.until_blocked(&reader, "the page of f is pinned, the disk of g is slow")?;
    let syncer = lab.thread("user", "fsync f: the page is clean", {
        let f = f.clone();
        move || f.fsync()
    })?;
    syncer.join()??;
    let puncher = lab.thread("user", "punches block 1 of f", {
        let f = f.clone();
        move || f.punch(1024, 1024)
    })?;
    puncher.join()??;
    lab.play("user");
    step("the disk of g is fast again");
    slow.resume()?;
    reader.join()??;

    let seen = m.read(0, PAGE);
    drop(m);
    // The page is marked dirty by a worker, before it lets go of it: until then it stays.
    step("fsync f, and the page is evicted");
    f.fsync()?;
    for _ in 0..500 {
        if !resident(&f)? {
            break;
        }
        f.dontneed()?;
        f.fsync()?;
    }
    evict(&f)?;
    lab.reads(
        &f,
        0,
        &seen,
        "read(2) and fsync succeeded, and the data is lost",
    )
}

pub static ENOSPC_IN_FAULT: Race = Race {
    row: "12b",
    name: "enospc-in-fault",
    title: "Space runs out in the middle of page_mkwrite",
    story:
        "A page has four blocks, the disk has two left. A fault that does not reserve for all of \
            them leaves dirty blocks over a hole, and writeback drops those without a word.",
    off: &["reserve-at-fault", "fill-unreserved"],
    var: K1,
    catch: &["rext4_page_mkwrite_done"],
    run: |lab| store_when_full(lab, 2 * 1024),
    ..RACE
};

pub static FAULT_ON_FULL_DISK: Race = Race {
    row: "13",
    name: "fault-on-full-disk",
    title: "A write fault when the disk is full",
    story:
        "A store through a mapping is accepted though there is no block for it. The error comes at \
            writeback, when nobody can be told any more but who calls fsync.",
    off: &["reserve-at-fault"],
    catch: &["rext4_page_mkwrite_done"],
    run: |lab| store_when_full(lab, 0),
    ..RACE
};

fn store_when_full(lab: &mut Lab, free: u64) -> Res {
    let f = lab.empty("f")?;
    f.truncate(PAGE as u64)?;
    f.fsync()?;
    lab.fill(free)?;
    let m = Map::shared(&f, PAGE)?;
    let blocks = free / lab.bs() as u64;
    lab.given(
        &format!("f: 4096 bytes, a hole, mapped; {blocks} free blocks on the disk"),
        &[&f],
    )?;

    lab.play("storer");
    map::sigbus_taken();
    let storer = lab.thread("storer", "stores 'S' all over the page", move || {
        m.write(0, &[b'S'; PAGE]);
        map::sigbus_taken()
    })?;
    if storer.join()? > 0 {
        step("SIGBUS: the program knows");
        return lab.reads(&f, 0, &[0; PAGE], "the store was refused, and is there");
    }
    step("fsync f");
    if let Err(e) = f.fsync() {
        harm!("the store was accepted, then fsync: {}", symbol(e.errno));
    }
    lab.evict(&f)?;
    lab.reads(
        &f,
        0,
        &[b'S'; PAGE],
        "the store was accepted, fsync succeeded, and it is lost",
    )
}

pub static COMMIT_VS_SEARCH: Race = Race {
    row: "13b",
    name: "commit-vs-search",
    title: "A commit comes between a search for blocks and its answer",
    story: "All that is free has just been freed, and is promised to f. Writeback finds none of it usable \
            before the commit. Then the commit comes, and who looks only now sees nothing to wait for.",
    off: &["pending-before"],
    catch: &["rext4_extent_insert"],
    mount: "commit=300",
    run: commit_vs_search,
    ..RACE
};

fn commit_vs_search(lab: &mut Lab) -> Res {
    let old = lab.file("old", &[b'O'; 1000 * PAGE])?;
    let g = lab.file("g", b"g")?;
    lab.fill(0)?;
    drop(old);
    // What is kept for metadata: data that was promised something may use it all the same.
    let pool = sys::statfs(&lab.t.p(""))?.f_bfree;
    sys::unlink(&lab.t.p("old"))?;
    // The inode is noted in the same transaction.
    g.futimens((1, 0), (1, 0))?;
    let other = lab.file_not_synced("other", &vec![b'o'; pool as usize * PAGE])?;
    other.sync_range(0, pool * PAGE as u64)?;
    let data = [b'F'; 8 * PAGE];
    let f = lab.file_not_synced("f", &data)?;
    lab.given(
        "f: 8 dirty blocks, promised; all free blocks of the disk have been freed just now",
        &[&f],
    )?;

    lab.arm("no-space", &f)?;
    let writer = lab.thread("writeback", "fsync f: looks for blocks", {
        let f = f.clone();
        move || f.fsync()
    })?;
    lab.wait("no-space")?;
    let committer = lab.thread("journal", "fsync g: commits", move || g.fsync())?;
    committer.join()??;
    lab.release("no-space")?;
    if let Err(e) = writer.join()? {
        harm!(
            "f was accepted, its blocks are free, and fsync says {}",
            symbol(e.errno)
        );
    }
    lab.evict(&f)?;
    lab.reads(
        &f,
        0,
        &data,
        "f was accepted, fsync succeeded, and it is lost",
    )
}

pub static NODE_VS_BLOCK: Race = Race {
    row: "13c",
    name: "node-vs-block",
    title: "A block is found and its node is not",
    story: "One block of the disk is usable, others only after a commit. Writeback takes it for \
            the data and finds none for the node that must map it. The block goes back, and with \
            it what was reserved; all there is has been promised to others.",
    off: &["stay-reserved"],
    catch: &["rext4_extent_insert"],
    mount: "commit=300",
    run: node_vs_block,
    ..RACE
};

fn node_vs_block(lab: &mut Lab) -> Res {
    let old = lab.file("old", &[b'O'; 1000 * PAGE])?;
    let g = lab.file("g", b"g")?;
    // As many extents as the inode has room for: the next one needs a node.
    let f = lab.empty("f")?;
    for at in [0, 2, 4, 6] {
        f.pwrite(&[b'f'; PAGE], at * PAGE as u64)?;
        f.fsync()?;
    }
    let allocated = lab.empty("allocated")?;
    allocated.fallocate(0, 0, 1000 * PAGE as u64)?;
    lab.fill(0)?;
    drop(old);
    let pool = sys::statfs(&lab.t.p(""))?.f_bfree;
    sys::unlink(&lab.t.p("old"))?;
    // The inode is noted in the same transaction.
    g.futimens((1, 0), (1, 0))?;
    // All that is usable now, but one.
    let other = lab.file_not_synced("other", &vec![b'o'; (pool as usize - 1) * PAGE])?;
    other.sync_range(0, (pool - 1) * PAGE as u64)?;
    let at = 8 * PAGE as u64;
    f.pwrite(&[b'F'; PAGE], at)?;
    // All that data may have, but the nodes that it may take.
    let left = sys::statfs(&lab.t.p(""))?.f_bfree - pool;
    let _rival = lab.file_not_synced("rival", &vec![b'r'; (left as usize - 10) * PAGE])?;
    // Conversion may take nodes, and these are promised from what data does not get.
    for at in (0..1000).step_by(2) {
        allocated.pwrite(b"a", at * PAGE as u64)?;
    }
    lab.given(
        "f: 4 extents and a dirty block, promised; one block of the disk is usable, the others \
         have been freed just now, and are promised to other files",
        &[&f],
    )?;

    lab.arm("no-space", &f)?;
    let writer = lab.thread("writeback", "fsync f: a block and a node", {
        let f = f.clone();
        move || f.fsync()
    })?;
    lab.wait("no-space")?;
    lab.release("no-space")?;
    if let Err(e) = writer.join()? {
        harm!(
            "f was accepted, space was promised to it, and fsync says {}",
            symbol(e.errno)
        );
    }
    lab.evict(&f)?;
    lab.reads(
        &f,
        at,
        &[b'F'; PAGE],
        "f was accepted, fsync succeeded, and it is lost",
    )
}
