// SPDX-License-Identifier: GPL-2.0
//! The file system under test, on a disk in memory: what is submitted is done when the call
//! returns, so nothing happens at a time of its own.

use crate::program::Image;
use crate::space::Free;
use guest::ensure;
use guest::finder::{features, UUID};
use guest::fixture::{run_cmd, MNT};
use guest::harness::Res;
use guest::sys::{self, Aligned, Fd, Sys};
use std::collections::HashMap;

const MIB: usize = 1 << 20;
/// What is on the device where nobody has written: not zeros, so that it shows.
pub const POISON: u8 = 0xdb;

/// The disk that is memory, whose files may be accessed directly.
pub const MEMORY: &str = "/dev/pmem0";
pub const NO_MEMORY: &str = "no disk here is memory: scripts/explore --dax";

pub struct Disk {
    fs: String,
    dev: String,
    /// New file systems, by block size, with extents and without, for either disk.
    images: HashMap<(u64, bool, bool), Vec<u8>>,
}

/// In MiB: room for the files of many schedules.
fn size(block: u64) -> usize {
    12 + journal(block) as usize
}

/// In MiB: it has 1024 blocks at least.
fn journal(block: u64) -> u64 {
    block / 1024
}

/// What mke2fs is told. Nothing is left to chance: where a name lies in an index is said by a hash
/// that begins with the seed of the file system.
fn options(block: u64, maps: bool, dev: &str) -> Vec<String> {
    let flags = "nodiscard,lazy_itable_init=0,lazy_journal_init=0";
    let features = features(if maps { "^extent,^64bit" } else { "" });
    // Several groups, most of them empty at first; with block maps one, where blocks are not small.
    let groups = if maps { "" } else { "-g 1024 " };
    let text = format!(
        "-q -F -t ext4 -b {block} -J size={} -N 2048 -m 0 {groups}-O {features} -U {UUID} \
         -E {flags},hash_seed={UUID} {dev} {}m",
        journal(block),
        size(block)
    );
    text.split(' ').map(String::from).collect()
}

impl Disk {
    pub fn new(fs: &str, dev: &str) -> Disk {
        Disk {
            fs: fs.to_string(),
            dev: dev.to_string(),
            images: HashMap::new(),
        }
    }

    /// Where it is.
    pub fn dev(&self, image: Image) -> &str {
        match image.dax {
            true => MEMORY,
            false => &self.dev,
        }
    }

    fn device(&self, image: Image) -> Sys<Fd> {
        sys::open(self.dev(image), libc::O_RDWR | libc::O_DIRECT, 0)
    }

    /// A new file system, by mke2fs: its bytes.
    fn make(&self, image: Image) -> Res<Vec<u8>> {
        let Image { block, maps, .. } = image;
        let f = self.device(image)?;
        let mut part = Aligned::new(MIB);
        part.fill(POISON);
        for i in 0..size(block) {
            f.pwrite(&part, (i * MIB) as u64)?;
        }
        let args = options(block, maps, self.dev(image));
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        let (code, text) = run_cmd("mke2fs", &args)?;
        ensure!(code == 0, "mke2fs {args:?}: {}", text.trim());
        let mut all = Vec::with_capacity(size(block) * MIB);
        for i in 0..size(block) {
            f.pread(&mut part, (i * MIB) as u64)?;
            all.extend_from_slice(&part);
        }
        Ok(all)
    }

    /// A new file system, mounted.
    pub fn fresh(&mut self, image: Image) -> Res {
        let kind = (image.block, image.maps, image.dax);
        if !self.images.contains_key(&kind) {
            let bytes = self.make(image)?;
            self.images.insert(kind, bytes);
        }
        let f = self.device(image)?;
        let mut part = Aligned::new(MIB);
        for (i, chunk) in self.images[&kind].chunks(MIB).enumerate() {
            part.copy_from_slice(chunk);
            f.pwrite(&part, (i * MIB) as u64)?;
        }
        // Who has it open for writing keeps it from being mounted.
        drop(f);
        Ok(self.mount(image)?)
    }

    pub fn mount(&self, image: Image) -> Sys<()> {
        // No commit comes by itself.
        let gate = if image.gate { ",dio_gate" } else { "" };
        let dax = if image.dax { ",dax=always" } else { "" };
        let options = format!("commit=900{gate}{dax}");
        sys::mount(self.dev(image), MNT, &self.fs, 0, &options)
    }

    /// After a failure: whatever is mounted goes. False if somebody still has it.
    pub fn clear(&self) -> bool {
        match sys::umount(MNT, 0) {
            Err(e) if e.errno == libc::EBUSY => {
                let _ = sys::umount(MNT, libc::MNT_DETACH);
                false
            }
            // Or nothing was mounted.
            _ => true,
        }
    }

    /// What e2fsck finds in what is not mounted.
    pub fn fsck(&self, image: Image) -> Result<(), String> {
        let (code, text) =
            run_cmd("e2fsck", &["-fn", self.dev(image)]).map_err(|e| e.to_string())?;
        let lines: Vec<&str> = text.lines().filter(|l| !l.starts_with("Pass ")).collect();
        match code {
            0 => Ok(()),
            _ => Err(format!("e2fsck -fn: {}", lines.join(" | "))),
        }
    }
}

/// Of what is mounted.
pub fn free() -> Sys<Free> {
    let st = sys::statfs(MNT)?;
    Ok(Free {
        blocks: st.f_bfree,
        inodes: st.f_ffree,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_left_to_chance() {
        let all = options(1024, false, "/dev/x");
        assert!(all.windows(2).any(|pair| pair == ["-U", UUID]));
        assert!(all
            .iter()
            .any(|word| word.contains(&format!("hash_seed={UUID}"))));
        assert_eq!(all[all.len() - 2..], ["/dev/x", "13m"]);
    }
}
