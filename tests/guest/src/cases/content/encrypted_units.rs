// SPDX-License-Identifier: GPL-2.0
//! Data units of encrypted files: each has a number, by which it is encrypted, and they are counted
//! along what goes to the disk in one go. So that must end where the count does.

use crate::cases::content::encrypted::{fresh, ENC, ENC_4K};
use crate::cases::content::encrypted_keys::{add_key, encrypted_dir, INO_LBLK_32};
use crate::cases::power::orphans;
use crate::crypt::{first_unit, key, PolicyV2};
use crate::fiemap::fiemap;
use crate::fixture::{holds, pattern, T};
use crate::harness::{Case, Res};
use crate::map::Map;
use crate::sys::{self, Aligned, Fd};
use crate::{fail, same};

pub const CASES: &[Case] = &[
    Case::new("crypt/data_neighbours", ENC, neighbours).quick(),
    Case::new("crypt/data_wrap", &[ENC_4K], wrap).quick(),
];

/// Blocks of a file that are neighbours on the disk, and have holes between them in the file.
const PLACES: [usize; 4] = [0, 2, 5, 9];

/// What a file has at each of some blocks.
struct Blocks<'a> {
    f: &'a Fd,
    d: &'a Fd,
    at: &'a [u64],
    bs: usize,
}

/// How they are written, or read.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Way {
    /// By the page cache, all of them before anything is written back.
    Cached,
    /// Directly, a request for each block.
    OneByOne,
    /// Directly, with as few requests as possible.
    AtOnce,
}

const WAYS: [Way; 3] = [Way::OneByOne, Way::Cached, Way::AtOnce];

impl Blocks<'_> {
    fn bytes(&self, seed: u64, at: u64) -> Vec<u8> {
        pattern(seed, at * self.bs as u64, self.bs)
    }

    /// From the first of them to the last, with zeros between them.
    fn all(&self, seed: u64) -> (u64, Vec<u8>) {
        let (first, last) = (self.at[0], self.at[self.at.len() - 1]);
        let mut all = vec![0; (last - first + 1) as usize * self.bs];
        for at in self.at {
            let from = (at - first) as usize * self.bs;
            all[from..from + self.bs].copy_from_slice(&self.bytes(seed, *at));
        }
        (first * self.bs as u64, all)
    }

    fn write(&self, way: Way, seed: u64) -> Res {
        let bs = self.bs as u64;
        match way {
            Way::AtOnce => {
                let (from, all) = self.all(seed);
                self.d.pwrite(&Aligned::of(&all), from)?;
            }
            Way::OneByOne => {
                for at in self.at {
                    self.d
                        .pwrite(&Aligned::of(&self.bytes(seed, *at)), at * bs)?;
                }
            }
            Way::Cached => {
                // What follows one another at once, for folios of more than a block.
                for run in self.at.chunk_by(|a, b| a + 1 == *b) {
                    let bytes: Vec<u8> = run.iter().flat_map(|at| self.bytes(seed, *at)).collect();
                    self.f.pwrite(&bytes, run[0] * bs)?;
                }
            }
        }
        Ok(self.f.fsync()?)
    }

    fn read(&self, t: &T, way: Way, seed: u64, what: &str) -> Res {
        t.drop_caches()?;
        let (from, want) = self.all(seed);
        let mut got = Aligned::new(want.len());
        match way {
            Way::Cached => return holds(self.f, from, &want, what),
            Way::AtOnce => same!(self.d.pread(&mut got, from)?, want.len(), "{what}"),
            Way::OneByOne => {
                for (i, block) in got.chunks_mut(self.bs).enumerate() {
                    let n = self.d.pread(block, from + (i * self.bs) as u64)?;
                    same!(n, self.bs, "{what}: block {i}");
                }
            }
        }
        let differ = (0..want.len()).find(|i| got[*i] != want[*i]);
        match differ {
            None => Ok(()),
            Some(i) => fail!("{what}: block {} from {from}", i / self.bs),
        }
    }
}

/// Makes the file an extent for each of [`PLACES`], of the blocks that it has for its first ones.
fn spread(t: &T, ino: u64, first: u64) -> Res {
    let mut words = vec![0xf30a | (PLACES.len() as u64) << 16, 4, 0];
    for (i, place) in PLACES.into_iter().enumerate() {
        words.extend([place as u64, 1, first + i as u64]);
    }
    let (plain, last) = ((0..12).map(|i| i.to_string()), ["IND", "DIND", "TIND"]);
    let script: Vec<String> = (plain.chain(last.map(String::from)).zip(words))
        .map(|(i, word)| format!("sif <{ino}> block[{i}] {word:#x}"))
        .collect();
    orphans::script(t, &script).map(drop)
}

/// Neighbours on the disk only do not share what is decrypted, or encrypted, in one go. The
/// allocator avoids such files: a gap in the file keeps its width on the disk.
fn neighbours(t: &mut T) -> Res {
    fresh(t)?;
    let bs = t.bs() as usize;
    let f = sys::create(&t.p("f"))?;
    f.pwrite(&pattern(1, 0, PLACES.len() * bs), 0)?;
    f.truncate(10 * bs as u64)?;
    f.fsync()?;
    let ino = f.stat()?.st_ino;
    let found = fiemap(&f, 0, u64::MAX, true, 8)?;
    let [one] = found[..] else {
        fail!("in pieces: {found:?}")
    };
    drop(f);
    t.umount()?;
    spread(t, ino, one.phys / bs as u64)?;
    t.fsck()?;
    t.mount("")?;
    let (f, d) = (sys::rdwr(&t.p("f"))?, sys::direct(&t.p("f"))?);
    let extents = |f: &Fd| -> Res<Vec<(u64, u64)>> {
        let found = fiemap(f, 0, u64::MAX, true, 8)?;
        Ok(found.iter().map(|e| (e.log, e.phys)).collect())
    };
    let want: Vec<_> = (PLACES.into_iter().enumerate())
        .map(|(i, at)| ((at * bs) as u64, one.phys + (i * bs) as u64))
        .collect();
    same!(extents(&f)?, want, "extents");
    let at = PLACES.map(|at| at as u64);
    let blocks = Blocks {
        f: &f,
        d: &d,
        at: &at,
        bs,
    };
    for (seed, write) in [(2, Way::OneByOne), (3, Way::Cached)] {
        blocks.write(write, seed)?;
        for read in WAYS {
            blocks.read(t, read, seed, &format!("written {write:?}, read {read:?}"))?;
        }
        same!(extents(&f)?, want, "extents later");
    }
    // Parts of pages that are read for what is left of them.
    f.pwrite(&pattern(4, 0, 10), 5)?;
    f.fsync()?;
    let mut first = pattern(3, 0, bs);
    first[5..15].copy_from_slice(&pattern(4, 0, 10));
    t.drop_caches()?;
    holds(&f, 0, &first, "a part of a block")?;
    // Holes that a direct write fills in one go with the blocks between them.
    blocks.write(Way::AtOnce, 5)?;
    for read in WAYS {
        blocks.read(t, read, 5, &format!("filled, read {read:?}"))?;
    }
    Ok(())
}

/// Of some policies the numbers begin again at 0 within a file: where, depends on the key and on
/// the inode.
fn wrap(t: &mut T) -> Res {
    t.mkfs(64, &["-O", "encrypt,stable_inodes"])?;
    t.mount("")?;
    let policy = PolicyV2 {
        flags: 3 | INO_LBLK_32,
        ..PolicyV2::new(add_key(t)?)
    };
    encrypted_dir(&t.p("d"), policy)?;
    let bs = t.bs();
    for n in 0.. {
        let path = t.p(&format!("d/{n}"));
        let f = sys::create(&path)?;
        let place = (1 << 32) - u64::from(first_unit(&key(1), f.stat()?.st_ino));
        // Within a folio of any size, and within a file of any size.
        if !(6..11).contains(&(place % 16)) || !(64..0xffff_0000).contains(&place) {
            continue;
        }
        let at: Vec<u64> = (place - 22..place + 26).collect();
        let blocks = Blocks {
            f: &f,
            d: &sys::direct(&path)?,
            at: &at,
            bs: bs as usize,
        };
        let mut seed = 0;
        for round in ["new", "over data"] {
            for write in WAYS {
                seed += 1;
                if round == "new" {
                    f.truncate(0)?;
                }
                blocks.write(write, seed)?;
                for read in WAYS {
                    let what = format!("{round}, written {write:?}, read {read:?}");
                    blocks.read(t, read, seed, &what)?;
                }
            }
        }
        cut_short(&f, place * bs, 20 * bs)?;
        return never_half(t, &blocks, place * bs);
    }
    fail!("no inode")
}

/// A write whose memory ends where the numbers begin again, at byte `place`: no space stays
/// reserved behind it.
fn cut_short(f: &Fd, place: u64, len: u64) -> Res {
    f.truncate(0)?;
    f.fsync()?;
    let before = f.stat()?.st_blocks;
    let memory = Map::anonymous(2 * len as usize)?;
    // SAFETY: nobody looks at the second half of it any more, but the kernel, which is told so.
    let n = unsafe {
        let half = memory.addr().add(len as usize);
        libc::mprotect(half.cast(), len as usize, libc::PROT_NONE);
        let from = memory.addr().cast();
        libc::pwrite(f.raw, from, 2 * len as usize, (place - len) as i64)
    };
    same!(n as u64, len, "bytes written before the memory ended");
    f.fsync()?;
    let held = (f.stat()?.st_blocks - before) as u64 * 512;
    same!(held, len, "bytes that the file takes up");
    Ok(())
}

/// A write that must not wait, over the byte where the numbers begin again: what is behind that has
/// no blocks, so it would have to wait. Nothing is written then, also not what is before.
fn never_half(t: &T, blocks: &Blocks<'_>, place: u64) -> Res {
    let (f, d, bs) = (blocks.f, blocks.d, blocks.bs as u64);
    f.truncate(0)?;
    let old = pattern(1, 0, 4 * bs as usize);
    f.pwrite(&old, place - 4 * bs)?;
    f.truncate(place + 4 * bs)?;
    f.fsync()?;
    // It would wait for pages, too.
    t.drop_caches()?;
    let new = Aligned::of(&pattern(2, 0, 8 * bs as usize));
    let iov = libc::iovec {
        iov_base: new.as_ptr().cast_mut().cast(),
        iov_len: 8 * bs as usize,
    };
    let at = (place - 4 * bs) as i64;
    // SAFETY: The memory is valid for the call, and only read.
    let n = unsafe { libc::pwritev2(d.raw, &iov, 1, at, libc::RWF_NOWAIT) };
    let why = std::io::Error::last_os_error().raw_os_error();
    same!(
        (n, why),
        (-1, Some(libc::EAGAIN)),
        "a write that would wait"
    );
    holds(f, place - 4 * bs, &old, "the part before it")
}
