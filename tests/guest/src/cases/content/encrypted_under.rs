// SPDX-License-Identifier: GPL-2.0
//! What the device gets of encrypted files: nothing as it is, whoever writes it and why. And what
//! they make of a device that fails.

use crate::cases::content::encrypted::{encrypt, fresh, ENC, ENC_4K};
use crate::cases::content::zeroes;
use crate::cases::damage::failing::{data_at, with_hole};
use crate::cases::power::crash::on_dm;
use crate::cases::power::orphans::script;
use crate::cases::power::replay;
use crate::dm;
use crate::fiemap::fiemap;
use crate::fixture::{holds, pattern, put, T};
use crate::harness::{Case, Res};
use crate::map::Map;
use crate::sys::{self, Aligned, Fd};
use crate::writelog::Entry;
use crate::{ensure, errno, fail, same, skip};

pub const CASES: &[Case] = &[
    Case::new("crypt/data_on_disk", ENC, on_disk).quick(),
    Case::new("crypt/data_zeroes", ENC, zeroed).quick(),
    Case::new("crypt/data_zero_ranges", &[ENC_4K], zero_ranges),
    Case::new("crypt/data_orphan", ENC, orphan).quick(),
    Case::new("crypt/data_fails", ENC, fails).quick(),
];

/// A sector never begins so by chance.
const MARK: &[u8; 16] = b"this is PLAINTXT";

/// What is written: the same wherever it is, so that each 16 bytes of a block that has it begin
/// alike.
fn marked(at: usize, len: usize) -> Vec<u8> {
    (at..at + len).map(|i| MARK[i % 16]).collect()
}

fn has_mark(bytes: &[u8]) -> bool {
    bytes.chunks_exact(16).any(|some| some == MARK)
}

/// From file to file, and to a file without a name.
fn copy(t: &T, f: &Fd) -> Res {
    let g = sys::create(&t.p("g"))?;
    let (mut from, mut to) = (0i64, 0i64);
    // SAFETY: open files, and places for both positions.
    let n = unsafe { libc::copy_file_range(f.raw, &mut from, g.raw, &mut to, 80_000, 0) };
    same!(n, 80_000, "copied");
    let tmp = sys::open(&t.p(""), libc::O_TMPFILE | libc::O_RDWR, 0o600)?;
    tmp.pwrite(&marked(0, 50_000), 0)?;
    tmp.fsync()?;
    g.fsync()?;
    sys::sync();
    Ok(())
}

/// Every way there is for bytes to get from a file to the device.
fn write_all_ways(t: &T) -> Res {
    let bs = t.bs() as usize;
    let path = t.p("f");
    let f = sys::create(&path)?;
    let d = sys::direct(&path)?;
    let put = |at: usize, len: usize| f.pwrite(&marked(at, len), at as u64);
    put(0, 300_000)?;
    f.fsync()?;
    // Over what is on disk only, whole blocks and parts.
    f.dontneed()?;
    put(5 * bs + 100, 3 * bs)?;
    put(100_000, 16)?;
    f.sync_range(0, 300_000)?;
    put(300_000, 5000)?;
    f.fdatasync()?;
    // Directly: over data, in holes and behind the end, blocks and parts of them.
    for (at, len) in [(0, 4 * bs), (400 * bs, bs), (600 * bs + 512, 700)] {
        d.pwrite(&Aligned::of(&marked(at, len)), at as u64)?;
    }
    let a = sys::open(&path, libc::O_WRONLY | libc::O_DIRECT | libc::O_APPEND, 0)?;
    let end = a.size()? as usize;
    // The kernel's ext4 takes whole blocks at the end of whole blocks only.
    if t.ours() {
        a.write(&Aligned::of(&marked(end, 2 * bs)))?;
    }
    // By a mapping, also behind the end.
    let len = f.size()? as usize;
    let m = Map::shared(&f, len.next_multiple_of(4096))?;
    for at in [4096, 40_000, len - 2000] {
        m.write(at, &marked(at, 6000.min(len.next_multiple_of(4096) - at)));
    }
    m.msync()?;
    // Blocks come and go below data.
    f.punch(20_000, 9000)?;
    f.fallocate(libc::FALLOC_FL_ZERO_RANGE, 50_001, 9000)?;
    put(51_000, 100)?;
    f.fallocate(0, 700 * bs as u64, 20 * bs as u64)?;
    put(705 * bs + 3, 4 * bs)?;
    f.fsync()?;
    for size in [700 * bs + 5, 710 * bs + 7, 33_333, 90_000] {
        f.truncate(size as u64)?;
        put(size, 100)?;
    }
    f.fsync()?;
    m.page_out()?;
    drop(m);
    copy(t, &f)?;
    // What the page cache has is what was written.
    let mut got = vec![0; 1000];
    f.pread(&mut got, 0)?;
    ensure!(has_mark(&got), "the file has not what was written");
    Ok(())
}

/// The log of all that the device was sent. A file that is not encrypted shows that it would be
/// seen.
fn on_disk(t: &mut T) -> Res {
    replay::start(t)?;
    t.opts = "";
    let plain = sys::create(&t.p("plain"))?;
    plain.pwrite(&marked(0, 20_000), 0)?;
    plain.fsync()?;
    drop(plain);
    let dev = t.dev.clone();
    t.umount()?;
    t.dms
        .last()
        .map_or(Ok(()), |log| log.message("mark plain"))?;
    encrypt(t);
    match t.try_mount(0, "") {
        Err(e) if e.errno == libc::EINVAL || e.errno == libc::EOPNOTSUPP => {
            skip!("neither kernel nor file system encrypt: {e}")
        }
        mounted => mounted?,
    }
    write_all_ways(t)?;
    ensure!(t.dev == dev, "another device");
    let log = replay::stop(t)?;
    let (mut before, mut seen) = (true, 0);
    for entry in &log {
        match entry {
            Entry::Mark(_) => before = false,
            Entry::Write(w) if has_mark(&w.data) => {
                ensure!(before, "plain bytes were written at {:#x}", w.at);
                seen += 1;
            }
            _ => (),
        }
    }
    ensure!(seen > 0 && !before, "the log does not show what is written");
    Ok(())
}

/// Where no block of the extents reads as zeros on the device.
fn no_zeros(t: &T, f: &Fd, what: &str) -> Res {
    let bs = t.bs();
    for e in fiemap(f, 0, u64::MAX, true, 64)? {
        for at in (0..e.len).step_by(bs as usize) {
            let block = t.peek(e.phys + at, bs as usize)?;
            let zeros = block.iter().all(|b| *b == 0);
            ensure!(!zeros, "{what}: plain zeros for byte {}", e.log + at);
        }
    }
    Ok(())
}

/// Zeros are data as others: those that are written, that fill blocks, and that the device is asked
/// for.
fn zeroed(t: &mut T) -> Res {
    zeroes::on_able(t, |t| {
        fresh(t)?;
        let bs = t.bs();
        let f = sys::create(&t.p("f"))?;
        f.pwrite(&vec![0; 40 * bs as usize], 0)?;
        f.fsync()?;
        no_zeros(t, &f, "zeros written")?;
        let g = put(&t.p("g"), 1, 30 * bs as usize)?;
        g.fsync()?;
        zeroes::zero(&g, 3 * bs + 5, 60 * bs)?;
        g.fsync()?;
        no_zeros(t, &g, "zeros of the device")?;
        let mut want = pattern(1, 0, 3 * bs as usize + 5);
        want.resize(60 * bs as usize, 0);
        t.holds_both(&g, &want, "zeros")?;
        drop((f, g));
        t.cycle()?;
        t.file_holds("g", &want, "mounted again")
    })
}

/// The whole case of files that are not encrypted.
fn zero_ranges(t: &mut T) -> Res {
    fresh(t)?;
    t.umount()?;
    zeroes::ranges(t)
}

/// A truncate that was cut short: the mount has no key, and cannot zero the rest of the last block.
/// Nothing of it comes to light.
fn orphan(t: &mut T) -> Res {
    fresh(t)?;
    let bs = t.bs() as usize;
    let want = pattern(1, 0, 2 * bs + 100);
    put(&t.p("f"), 1, 6 * bs)?;
    put(&t.p("gone"), 2, 6 * bs)?;
    t.umount()?;
    // Their names are not what they were called by.
    let list = t.debugfs(&["ls -p /"])?;
    let mut inodes: Vec<u64> = list
        .lines()
        .filter(|l| l.contains("/1006"))
        .filter_map(|l| l.split('/').nth(1)?.parse().ok())
        .collect();
    inodes.sort_unstable();
    let [f, gone] = inodes[..] else {
        fail!("two files: {list}")
    };
    script(
        t,
        &[
            format!("sif <{f}> size {}", want.len()),
            format!("sif <{f}> dtime @{gone}"),
            format!("sif <{gone}> size 3"),
            format!("sif <{gone}> dtime @0"),
            format!("ssv last_orphan {f}"),
        ],
    )?;
    t.mount("")?;
    t.umount()?;
    t.fsck()?;
    t.mount("")?;
    t.file_holds("f", &want, "cut")?;
    t.file_holds("gone", &pattern(2, 0, 3), "cut to 3")?;
    let (f, g) = (sys::rdwr(&t.p("f"))?, sys::rdwr(&t.p("gone"))?);
    f.truncate(5 * bs as u64)?;
    g.pwrite(&pattern(3, 0, 10), 1000)?;
    let mut want = want;
    want.resize(5 * bs, 0);
    t.holds_both(&f, &want, "grown")?;
    let mut want = pattern(2, 0, 3);
    want.resize(1000, 0);
    want.extend_from_slice(&pattern(3, 0, 10));
    t.holds_both(&g, &want, "written behind its end")
}

/// A sector that cannot be read, and one that cannot be written: an error, for what lies there
/// only. When it is well again all is.
fn fails(t: &mut T) -> Res {
    let d = on_dm(t)?;
    fresh(t)?;
    let bs = t.bs();
    let mut want = pattern(1, 0, 100_000);
    let f = put(&t.p("f"), 1, want.len())?;
    f.fsync()?;
    let at = data_at(t, "f")?;
    t.drop_caches()?;
    let hole = with_hole(t, at + 40_960, 4096);
    d.swap(&hole)?;
    let mut got = vec![0; 10_000];
    errno!(f.pread(&mut got, 40_000), EIO);
    holds(&f, 0, &want[..20_000], "before it")?;
    holds(&f, 70_000, &want[70_000..], "behind it")?;
    let direct = sys::direct(&f.name)?;
    errno!(direct.pread(&mut Aligned::new(8192), 40_960), EIO);
    // Of a block that is not there a part cannot be written.
    errno!(f.pwrite(&[1; 10], 40_960 + 5), EIO);
    f.pwrite(&pattern(2, 0, 4096), 40_960)?;
    errno!(f.fsync(), EIO);
    errno!(direct.pwrite(&Aligned::new(bs as usize), 40_960), EIO);
    d.swap(&[dm::linear(&t.disks[0], 0, crate::cases::power::crash::MB)])?;
    f.pwrite(&pattern(2, 0, 4096), 40_960)?;
    f.fsync()?;
    want[40_960..40_960 + 4096].copy_from_slice(&pattern(2, 0, 4096));
    t.holds_both(&f, &want, "well again")?;
    t.forget_log();
    Ok(())
}
