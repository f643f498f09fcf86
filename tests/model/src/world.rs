// SPDX-License-Identifier: GPL-2.0
//! The two devices with their images: each history begins with the same bytes.

use crate::op::{Disk, History, Image};
use crate::side::Side;
use guest::ensure;
use guest::finder::{features, no_error_noted, UUID};
use guest::fixture::{run_cmd, MNT, MNT2};
use guest::harness::Res;
use guest::sys::{self, Aligned, Fd};
use std::collections::HashMap;

const MIB: usize = 1 << 20;
/// What is on the device where nobody has written: not zeros, so that it shows.
const POISON: u8 = 0xdb;

impl Image {
    pub fn block(self) -> u64 {
        match self {
            Image::Block1k | Image::Maps1k | Image::Crypt1k | Image::Orphans1k => 1024,
            Image::Block2k => 2048,
            Image::Block4k | Image::NoChecksums | Image::Maps4k => 4096,
            Image::Crypt4k | Image::Groups4k => 4096,
        }
    }

    /// Whether files have block maps, of which fallocate only punches holes.
    pub fn has_maps(self) -> bool {
        matches!(self, Image::Maps4k | Image::Maps1k)
    }

    /// Whether files are encrypted, whose blocks stay where they are in the file.
    pub fn has_crypt(self) -> bool {
        matches!(self, Image::Crypt4k | Image::Crypt1k)
    }

    /// In MiB. The journal takes half of it: it has 1024 blocks at least.
    fn size(self) -> usize {
        2 * self.journal() as usize + 2
    }

    fn journal(self) -> u64 {
        self.block() / 1024
    }
}

pub struct World {
    /// For each disk the one under test, and the kernel's ext4.
    pairs: Vec<[Side; 2]>,
    /// Which of them.
    now: usize,
    images: HashMap<Image, Vec<u8>>,
    /// MiB of the one that is mounted.
    size: usize,
}

impl World {
    /// Two devices for each [`Disk`]; the second two may be missing.
    pub fn new(fs: &str, devices: &[String]) -> Res<World> {
        // Each step names a dozen paths: they are short.
        std::env::set_current_dir("/mnt")?;
        let leaf = |dir: &'static str| dir.trim_start_matches("/mnt/");
        let mut pairs = Vec::new();
        for pair in devices.chunks(2) {
            let [one, two] = pair else {
                guest::fail!("not a pair of devices: {pair:?}");
            };
            pairs.push([
                Side::new(fs, one, leaf(MNT))?,
                Side::new("ext4", two, leaf(MNT2))?,
            ]);
        }
        ensure!(!pairs.is_empty(), "two devices are needed");
        Ok(World {
            pairs,
            now: 0,
            images: HashMap::new(),
            size: 0,
        })
    }

    /// The one under test, and the kernel's ext4.
    pub fn sides(&self) -> &[Side; 2] {
        &self.pairs[self.now]
    }

    /// Histories in which ext4 strayed.
    pub fn strays(&self) -> u64 {
        self.pairs.iter().map(|pair| pair[1].strays.get()).sum()
    }

    /// New file systems on both devices, as this history wants them, mounted.
    pub fn begin(&mut self, history: &History) -> Res {
        let image = history.image;
        self.now = match history.disk {
            Disk::Cached => 0,
            Disk::Ram => self.pairs.len() - 1,
        };
        if !self.images.contains_key(&image) {
            let bytes = make(&self.sides()[0], image)?;
            self.images.insert(image, bytes);
        }
        let bytes = &self.images[&image];
        self.size = image.size();
        for side in self.sides() {
            restore(&device(&side.disk)?, bytes)?;
            side.mount.set(history.mount);
            side.mount()?;
        }
        Ok(())
    }

    /// What is on the first device now is mounted, and nothing that only memory had.
    pub fn cut(&self) -> Res {
        let side = &self.sides()[0];
        if side.without_writes(&|| side.umount())? {
            side.mount()?;
            side.forget();
            return Ok(());
        }
        let bytes = contents(
            &sys::open(&side.disk, libc::O_RDONLY | libc::O_DIRECT, 0)?,
            self.size,
        )?;
        side.umount()?;
        restore(&device(&side.disk)?, &bytes)?;
        side.mount()?;
        side.forget();
        Ok(())
    }

    /// Nothing is mounted any more, and e2fsck finds nothing.
    pub fn end(&self) -> Res {
        let [_, twin] = self.sides();
        twin.umount()?;
        self.check()
    }

    /// Unmounts the one under test, and e2fsck finds nothing.
    pub fn check(&self) -> Res {
        let ours = &self.sides()[0];
        ours.umount()?;
        let (code, text) = run_cmd("e2fsck", &["-fn", &ours.dev])?;
        let lines: Vec<&str> = text.lines().filter(|l| !l.starts_with("Pass ")).collect();
        ensure!(code == 0, "{}: e2fsck -fn: {}", ours.fs, lines.join(" | "));
        let noted = no_error_noted(&ours.dev);
        ensure!(noted.is_ok(), "{}: {noted:?}", ours.fs);
        Ok(())
    }

    /// After a failure: whatever is mounted goes.
    pub fn clear(&self) {
        for side in self.sides() {
            side.release();
            let _ = sys::umount(&side.dir, 0).or_else(|_| sys::umount(&side.dir, libc::MNT_DETACH));
        }
    }
}

fn device(dev: &str) -> Res<Fd> {
    Ok(sys::open(dev, libc::O_RDWR | libc::O_DIRECT, 0)?)
}

/// A new image, by mke2fs: its bytes.
pub fn make(side: &Side, image: Image) -> Res<Vec<u8>> {
    let len = image.size() * MIB;
    let f = device(&side.disk)?;
    let mut bytes = Aligned::new(MIB);
    bytes.fill(POISON);
    for at in (0..len).step_by(MIB) {
        f.pwrite(&bytes, at as u64)?;
    }
    let (block, journal) = (
        image.block().to_string(),
        format!("size={}", image.journal()),
    );
    let size = format!("{}m", image.size());
    let mut args = vec![
        "-q", "-F", "-t", "ext4", "-b", &block, "-J", &journal, "-N", "64", "-m", "0",
    ];
    // Where a name lies in an index is said by a hash that begins with the seed.
    let flags = "nodiscard,lazy_itable_init=0,lazy_journal_init=0";
    let flags = format!("{flags},hash_seed={UUID}");
    args.extend(["-U", UUID, "-E", &flags]);
    let features = features(match image {
        Image::NoChecksums => "^metadata_csum,^64bit",
        Image::Maps4k | Image::Maps1k => "^extent,^64bit",
        Image::Crypt4k | Image::Crypt1k => "encrypt",
        Image::Orphans1k => "orphan_file",
        Image::Block4k | Image::Block1k | Image::Block2k | Image::Groups4k => "",
    });
    args.extend(["-O", &features]);
    if matches!(image, Image::Groups4k | Image::Orphans1k) {
        args.extend(["-g", "1024"]);
    }
    args.extend([side.dev.as_str(), &size]);
    let (code, text) = run_cmd("mke2fs", &args)?;
    ensure!(code == 0, "mke2fs {args:?}: {}", text.trim());
    contents(&f, image.size())
}

/// So many MiB of a device.
fn contents(f: &Fd, size: usize) -> Res<Vec<u8>> {
    let mut part = Aligned::new(MIB);
    let mut all = Vec::with_capacity(size * MIB);
    for i in 0..size {
        f.pread(&mut part, (i * MIB) as u64)?;
        all.extend_from_slice(&part);
    }
    Ok(all)
}

fn restore(f: &Fd, bytes: &[u8]) -> Res {
    let mut part = Aligned::new(MIB);
    for (i, chunk) in bytes.chunks(MIB).enumerate() {
        part.copy_from_slice(chunk);
        f.pwrite(&part, (i * MIB) as u64)?;
    }
    Ok(())
}
