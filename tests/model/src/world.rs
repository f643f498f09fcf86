// SPDX-License-Identifier: GPL-2.0
//! The two devices with their images: each history begins with the same bytes.

use crate::op::Image;
use crate::side::Side;
use guest::ensure;
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
            Image::Block1k => 1024,
            Image::Block2k => 2048,
            Image::Block4k | Image::NoChecksums => 4096,
        }
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
    /// The one under test, and the kernel's ext4.
    pub sides: [Side; 2],
    images: HashMap<Image, Vec<u8>>,
}

impl World {
    pub fn new(fs: &str, disks: &[String]) -> Res<World> {
        let [one, two] = disks else {
            guest::fail!("two devices are needed, not {}", disks.len());
        };
        Ok(World {
            sides: [Side::new(fs, one, MNT)?, Side::new("ext4", two, MNT2)?],
            images: HashMap::new(),
        })
    }

    /// New file systems of this kind on both devices, mounted.
    pub fn begin(&mut self, image: Image) -> Res {
        if !self.images.contains_key(&image) {
            let bytes = make(&self.sides[0].dev, image)?;
            self.images.insert(image, bytes);
        }
        let bytes = &self.images[&image];
        for side in &self.sides {
            restore(&device(&side.dev)?, bytes)?;
            side.mount()?;
        }
        Ok(())
    }

    /// Nothing is mounted any more, and e2fsck finds nothing.
    pub fn end(&self) -> Res {
        for side in &self.sides {
            side.umount()?;
            let (code, text) = run_cmd("e2fsck", &["-fn", &side.dev])?;
            let lines: Vec<&str> = text.lines().filter(|l| !l.starts_with("Pass ")).collect();
            ensure!(code == 0, "{}: e2fsck -fn: {}", side.fs, lines.join(" | "));
        }
        Ok(())
    }

    /// After a failure: whatever is mounted goes.
    pub fn clear(&self) {
        for side in &self.sides {
            let _ = sys::umount(&side.dir, libc::MNT_DETACH);
        }
    }
}

fn device(dev: &str) -> Res<Fd> {
    Ok(sys::open(dev, libc::O_RDWR | libc::O_DIRECT, 0)?)
}

/// A new image, by mke2fs, on this device: its bytes.
fn make(dev: &str, image: Image) -> Res<Vec<u8>> {
    let len = image.size() * MIB;
    let f = device(dev)?;
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
    args.extend(["-E", "nodiscard,lazy_itable_init=0,lazy_journal_init=0"]);
    if image == Image::NoChecksums {
        args.extend(["-O", "^metadata_csum,^64bit"]);
    }
    args.extend([dev, &size]);
    let (code, text) = run_cmd("mke2fs", &args)?;
    ensure!(code == 0, "mke2fs {args:?}: {}", text.trim());
    let mut all = Vec::with_capacity(len);
    for at in (0..len).step_by(MIB) {
        f.pread(&mut bytes, at as u64)?;
        all.extend_from_slice(&bytes);
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
