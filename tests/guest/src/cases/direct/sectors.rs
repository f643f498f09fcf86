// SPDX-License-Identifier: GPL-2.0
//! Disks with sectors of 4096 bytes, made by scsi_debug: what they can be asked for, and what of
//! the file system goes around the page cache or below the blocks.

use crate::cases::content::zeroes;
use crate::cases::direct::whole;
use crate::cases::format::maps;
use crate::cases::power::shutdown::with_scsi_debug;
use crate::cases::power::slots;
use crate::cases::space::{discard, trim};
use crate::fixture::{holds, pattern, put, T};
use crate::harness::{Case, Res, Variant, K1, K2, ONE, ORPHAN, POINTERS};
use crate::sys::{self, Aligned};
use crate::{ensure, errno, same};

pub const CASES: &[Case] = &[
    Case::new("sectors/small_blocks", SMALLER, small_blocks).quick(),
    Case::new("sectors/direct", ONE, direct).quick(),
    Case::new("sectors/discard", ONE, discards).secs(120),
    Case::new("sectors/zeroes", ONE, zero).secs(120),
    Case::new("sectors/whole", ONE, whole_blocks),
    Case::new("sectors/maps", &[POINTERS], block_maps).secs(120),
    Case::new("sectors/orphans", &[ORPHAN], orphans),
];

/// Blocks that are smaller than a sector.
const SMALLER: &[Variant] = &[K1, K2];
const SECTOR: u64 = 4096;
const MIB: u64 = 1 << 20;

/// The case on such a disk of 260 MiB, which can do all that a disk can.
fn on_large_sectors(t: &mut T, act: impl FnOnce(&mut T) -> Res) -> Res {
    let parameters = [
        "dev_size_mb=260",
        "sector_size=4096",
        "lbpu=1",
        "lbpws=1",
        "lbprz=1",
        "atomic_wr=1",
        "atomic_wr_align=1",
        "atomic_wr_gran=1",
    ];
    with_scsi_debug(t, &parameters, |t| {
        let dev = t.dev.rsplit('/').next().unwrap_or_default();
        let file = format!("/sys/block/{dev}/queue/logical_block_size");
        let size = std::fs::read_to_string(file)?;
        same!(size.trim(), "4096", "bytes of a sector");
        act(t)
    })
}

/// An image whose blocks are smaller than a sector is refused, and nothing is written to it.
fn small_blocks(t: &mut T) -> Res {
    // mke2fs makes none there.
    t.mkfs(16, &[])?;
    let image = t.dev.clone();
    on_large_sectors(t, |t| {
        let (from, to) = (sys::rdonly(&image)?, t.raw()?);
        let mut piece = vec![0; MIB as usize];
        for i in 0..16 {
            from.pread(&mut piece, i * MIB)?;
            to.pwrite(&piece, i * MIB)?;
        }
        to.fsync()?;
        drop((from, to));
        let before = t.image(16)?;
        for flags in [0, libc::MS_RDONLY] {
            errno!(t.try_mount(flags, ""), EINVAL);
            let told: [&[&str]; 2] = [&["blocks of", "sectors of 4096"], &["bad block size"]];
            ensure!(t.logged(&told), "not told: {:?}", t.seen);
            t.forget_log();
        }
        t.unchanged(&before, "refused")?;
        t.broken = true;
        Ok(())
    })
}

/// Direct I/O is by sectors, as statx says, and nothing smaller.
fn direct(t: &mut T) -> Res {
    on_large_sectors(t, |t| {
        t.fresh()?;
        let path = t.p("f");
        let f = put(&path, 1, 3 * SECTOR as usize + 904)?;
        f.fsync()?;
        let st = sys::statx(&path)?;
        same!(u64::from(st.stx_dio_offset_align), SECTOR, "statx: offsets");
        ensure!(st.stx_dio_mem_align > 0, "statx: memory");
        let d = sys::direct(&path)?;
        for (at, len) in [(512, 4096), (0, 512), (2048, 2048), (4096, 6144), (1, 4096)] {
            errno!(d.pread_once(&mut Aligned::new(len), at), EINVAL);
            errno!(d.pwrite_once(&Aligned::new(len), at), EINVAL);
        }
        let mut want = pattern(1, 0, 3 * SECTOR as usize + 904);
        holds(&f, 0, &want, "after what was refused")?;
        let mut end = Aligned::new(SECTOR as usize);
        same!(d.pread_once(&mut end, 3 * SECTOR)?, 904, "the end");
        same!(end[..904], want[3 * SECTOR as usize..], "the end");
        // Over data and the end, preallocated, into a hole, as memory may lie.
        f.fallocate(libc::FALLOC_FL_KEEP_SIZE, 8 * SECTOR, 4 * SECTOR)?;
        let memory = Aligned::of(&pattern(2, 0, 2 * SECTOR as usize));
        let unit = st.stx_dio_mem_align as usize;
        for (i, block) in [1u64, 3, 9, 20].into_iter().enumerate() {
            let from = (i * unit) % SECTOR as usize;
            let (at, data) = (block * SECTOR, &memory[from..from + SECTOR as usize]);
            d.pwrite(data, at)?;
            want.resize(want.len().max((at + SECTOR) as usize), 0);
            want[at as usize..][..SECTOR as usize].copy_from_slice(data);
        }
        t.holds_both(&f, &want, "written")?;
        drop((f, d));
        t.cycle()?;
        t.file_holds("f", &want, "mounted again")
    })
}

/// FITRIM, and the mount option.
fn discards(t: &mut T) -> Res {
    on_large_sectors(t, |t| {
        t.end_of_image()?;
        let raw = t.raw()?;
        for i in 0..64 {
            raw.pwrite(&vec![trim::POISON; MIB as usize], i * MIB)?;
        }
        raw.fsync()?;
        drop(raw);
        trim::discards_on(t)?;
        t.umount()?;
        t.fsck()?;
        discard::after_commit_on(t)
    })
}

/// FALLOC_FL_WRITE_ZEROES.
fn zero(t: &mut T) -> Res {
    on_large_sectors(t, |t| {
        zeroes::ranges(t)?;
        t.umount()?;
        t.fsck()?;
        if t.ours() {
            zeroes::growing(t)?;
            t.umount()?;
            t.fsck()?;
        }
        zeroes::mapped(t)
    })
}

/// RWF_ATOMIC.
fn whole_blocks(t: &mut T) -> Res {
    on_large_sectors(t, whole::writes_on)
}

/// Files with block maps, also where there is no room.
fn block_maps(t: &mut T) -> Res {
    on_large_sectors(t, |t| {
        maps::cuts(t)?;
        t.umount()?;
        t.fsck()?;
        maps::full(t)
    })
}

/// The orphan file.
fn orphans(t: &mut T) -> Res {
    on_large_sectors(t, slots::used)
}
