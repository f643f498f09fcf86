// SPDX-License-Identifier: GPL-2.0
//! What an image says of itself through rext4 and through the kernel's ext4: statfs, statx, FIEMAP.

use crate::cases::namespace::dirs::{dir, read_all};
use crate::fiemap::fiemap;
use crate::fixture::{knows_fs, put, MNT, T};
use crate::harness::{Case, Res, Variant, ALL, FEATS, K1, K4};
use crate::sys;
use crate::xattr;
use crate::{ensure, skip};

pub const CASES: &[Case] = &[
    Case::new("compare/statfs", FEATS, statfs).quick(),
    Case::new("compare/statx", ALL, statx).quick(),
    Case::new("compare/fiemap", ALL, extents).quick(),
    Case::new("compare/fiemap_attributes", FEATS, attributes).quick(),
    Case::new("compare/seek_dir", SEEK, seek_dir).quick(),
];

/// Directories with an index and without; by extents and by a block map.
const SEEK: &[Variant] = &[K1, LINEAR, LINEAR_1K, LINEAR_MAP, K4];
const LINEAR: Variant = Variant {
    name: "linear",
    feats: "^dir_index",
    ..K4
};
const LINEAR_1K: Variant = Variant {
    name: "linear1k",
    feats: "^dir_index",
    ..K1
};
const LINEAR_MAP: Variant = Variant {
    name: "linear_map",
    feats: "^dir_index,^extent,^64bit",
    ..K1
};

/// Files of each kind, made by the file system under test.
const FILES: [&str; 12] = [
    "",
    "d",
    "empty",
    "small",
    "sparse",
    "unwritten",
    "pieces",
    "short",
    "long",
    "fifo",
    "null",
    "fixed",
];

fn fill(t: &mut T) -> Res {
    if !t.ours() || !knows_fs("ext4") {
        skip!("nothing to compare with");
    }
    t.fresh()?;
    make(t)?;
    t.umount()?;
    // Immutable, append only, no atime, no dump.
    t.debugfs(&["sif fixed flags 0x800f0"])?;
    Ok(())
}

fn make(t: &T) -> Res {
    let bs = t.bs();
    sys::mkdir(&t.p("d"), 0o1751)?;
    sys::create(&t.p("empty"))?;
    put(&t.p("small"), 1, 1000)?;
    let f = put(&t.p("sparse"), 2, 3 * bs as usize)?;
    f.pwrite(b"x", 100 * bs)?;
    f.truncate(200 * bs)?;
    let f = sys::create(&t.p("unwritten"))?;
    f.fallocate(0, 0, 50 * bs)?;
    f.pwrite(b"x", 7 * bs)?;
    f.fallocate(libc::FALLOC_FL_KEEP_SIZE, 50 * bs, 50 * bs)?;
    let f = sys::create(&t.p("pieces"))?;
    for i in 0..300 {
        f.pwrite(b"x", 2 * i * bs)?;
        if i % 50 == 0 {
            f.fsync()?;
        }
    }
    sys::symlink("short target", &t.p("short"))?;
    sys::symlink(&"long".repeat(40), &t.p("long"))?;
    sys::mknod(&t.p("fifo"), libc::S_IFIFO | 0o600, 0)?;
    sys::mknod(&t.p("null"), libc::S_IFCHR | 0o600, libc::makedev(1, 3))?;
    put(&t.p("fixed"), 3, 5000)?;
    sys::lchown(&t.p("small"), 70_000, 80_000)?;
    Ok(())
}

/// What `look` sees by each of the two must be the same.
fn both(t: &mut T, look: impl Fn(&T) -> Res<Vec<String>>) -> Res {
    let (dev, ours) = (t.dev.clone(), t.fs.clone());
    let mut seen = Vec::new();
    for fs in [ours.as_str(), "ext4"] {
        t.mount_as(&dev, MNT, fs, libc::MS_RDONLY, "")?;
        seen.push(look(t)?);
        t.umount()?;
    }
    let pairs = seen[0].iter().zip(&seen[1]);
    let differ: Vec<_> = pairs.filter(|(a, b)| a != b).collect();
    ensure!(differ.is_empty(), "rext4 and ext4: {differ:#?}");
    ensure!(seen[0].len() == seen[1].len(), "{seen:#?}");
    Ok(())
}

/// statfs says of the same image what the kernel's ext4 says.
fn statfs(t: &mut T) -> Res {
    fill(t)?;
    both(t, |_| Ok(vec![format!("{:?}", sys::statfs(MNT)?)]))
}

/// statx gives the attributes and the mask that the kernel's ext4 gives.
fn statx(t: &mut T) -> Res {
    fill(t)?;
    both(t, |t| {
        let mut all = Vec::new();
        for name in FILES {
            let mut s = sys::statx(&t.p(name))?;
            // Of this mount; and what is told unasked.
            (s.stx_mnt_id, s.stx_atime) = (0, s.stx_mtime);
            s.stx_mask &= 0x1fff;
            (s.stx_dio_mem_align, s.stx_dio_offset_align) = (0, 0);
            all.push(format!("{name}: {s:?}"));
        }
        Ok(all)
    })
}

/// FIEMAP gives the extents, flags and errors that the kernel's ext4 gives.
fn extents(t: &mut T) -> Res {
    fill(t)?;
    both(t, |t| {
        let bs = t.bs();
        let mut all = Vec::new();
        // Those that can be opened, and do not wait for a writer.
        for name in &FILES[..7] {
            let f = sys::rdonly(&t.p(name))?;
            for (start, len) in [(0, u64::MAX), (0, 1), (3 * bs + 1, 5 * bs), (1 << 40, 100)] {
                for sync in [false, true] {
                    let map = fiemap(&f, start, len, sync, 20);
                    let map = map.map_err(|e| e.errno);
                    all.push(format!("{name} {start} {len}: {map:?}"));
                }
            }
        }
        // Nothing but FIEMAP_FLAG_SYNC, with the flags that are not known given back.
        let f = sys::rdonly(&t.p("pieces"))?;
        for flags in [8u64, 0x8000_0000] {
            let mut arg = [0, u64::MAX, flags, 0];
            // SAFETY: A struct fiemap without room for extents.
            let r = unsafe { f.ioctl(0xC020_660B, arg.as_mut_ptr()) };
            all.push(format!(
                "flags {flags:#x}: {:?} {arg:?}",
                r.map_err(|e| e.errno)
            ));
        }
        // Only the number of extents.
        let mut arg = [0, u64::MAX, 0, 0];
        // SAFETY: As above.
        unsafe { f.ioctl(0xC020_660B, arg.as_mut_ptr())? };
        all.push(format!("count: {arg:?}"));
        Ok(all)
    })
}

/// What attributes begin with.
const MAGIC: [u8; 4] = 0xea02_0000u32.to_le_bytes();

/// FIEMAP_FLAG_XATTR gives the place of the attributes that ext4 gives, and FIEMAP_FLAG_CACHE is
/// taken. Of those in an inode ext4 says where they would be in the first one of its block.
fn attributes(t: &mut T) -> Res {
    fill(t)?;
    t.mount("")?;
    let place = |name: &str, lens: &[usize]| -> Res {
        for (i, len) in lens.iter().enumerate() {
            xattr::set(&t.p(name), &format!("user.{i}"), &vec![7; *len], 0)?;
        }
        Ok(())
    };
    place("small", &[10])?;
    place("sparse", &[600])?;
    place("pieces", &[10, 600])?;
    place("d", &[20])?;
    t.umount()?;
    let is_ours = std::cell::Cell::new(true);
    both(t, |t| {
        let (ours, mut all) = (is_ours.replace(false), Vec::new());
        for name in &FILES[..7] {
            let f = sys::rdonly(&t.p(name))?;
            for (flags, start, len) in [
                (2u64, 0u64, u64::MAX),
                (3, 0, 1),
                (2, 50, 10),
                (2, 120, u64::MAX),
                (2, t.bs(), u64::MAX),
                (2, 1 << 45, 100),
                (6, 0, u64::MAX),
                (4, 0, u64::MAX),
                (5, 0, u64::MAX),
                (2 | 8, 0, u64::MAX),
            ] {
                // Room for three extents.
                let mut arg = [0u64; 4 + 3 * 7];
                (arg[0], arg[1], arg[2], arg[3]) = (start, len, flags, 3);
                // SAFETY: A struct fiemap with that room.
                let r = unsafe { f.ioctl(0xC020_660B, arg.as_mut_ptr()) };
                const INLINE: u64 = 0x200;
                if arg[9] & INLINE != 0 {
                    let found = t.peek(arg[5], 4)?;
                    ensure!(!ours || found == MAGIC, "{name}: {found:x?}");
                    arg[5] -= arg[5] % t.bs();
                }
                all.push(format!("{name}: {:?} {arg:x?}", r.map_err(|e| e.errno)));
            }
        }
        Ok(all)
    })
}

/// lseek in directories goes where it goes in ext4, and readdir goes on from there.
fn seek_dir(t: &mut T) -> Res {
    if !t.ours() || !knows_fs("ext4") {
        skip!("nothing to compare with");
    }
    t.fresh()?;
    for (name, n) in [("one", 10), ("many", 300)] {
        sys::mkdir(&t.p(name), 0o755)?;
        for i in 0..n {
            sys::create(&t.p(&format!("{name}/entry-{i}-{}", "x".repeat(i % 40))))?;
        }
    }
    t.umount()?;
    let by_bytes = t.var.feats.contains("dir_index");
    both(t, |t| {
        let (bs, mut all) = (t.bs() as i64, Vec::new());
        for name in ["one", "many"] {
            let d = dir(&t.p(name))?;
            let size = d.size()? as i64;
            let near = [size - 1, size, size + 1, bs, bs + 1];
            let far = [1 << 31, 1 << 32, 1 << 34, 1 << 43, 1 << 45, i64::MAX];
            let all_at = [&[-size, -1, 0, 1][..], &near, &far].concat();
            for whence in [0, 1, 2, libc::SEEK_DATA, libc::SEEK_HOLE, 9] {
                for &at in &all_at {
                    d.seek(12, libc::SEEK_SET)?;
                    let to = d.seek(at, whence).map_err(|e| e.errno);
                    let then = d.seek(0, libc::SEEK_CUR).map_err(|e| e.errno);
                    all.push(format!("{name} {at} from {whence}: {to:?} {then:?}"));
                }
            }
            for at in (0..3 * bs).step_by(bs as usize / 8 + 4) {
                // Where positions are made of hashes each has its own.
                if by_bytes {
                    d.seek(at, libc::SEEK_SET)?;
                    let names: Vec<_> = read_all(&d, 4096)?.into_iter().map(|e| e.name).collect();
                    all.push(format!("{name} {at}: {names:?}"));
                }
            }
        }
        Ok(all)
    })
}
