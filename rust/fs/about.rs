// SPDX-License-Identifier: GPL-2.0

//! What the super block says for people to read: its label and UUID, where it is mounted, how much
//! was ever written; and how full it is.
//!
//! Nothing depends on where it is mounted and what was written, so nothing fails for their sake.
//! How much was written is told the super block whenever that is written anyway, and every hour, as
//! ext4 does.

use super::{
    access::Access,
    alloc,
    credits,
    primary::{journal_backup, journal_super, read_super},
    Rext4,
    Sb, //
};
use crate::{
    disk::{features, RawSuper},
    vfs::{
        atomic::Atomic,
        blkdev::BlockDevice,
        ioctl::{Label, Uuid},
        super_block::StatFs,
        File,
    }, //
};
use kernel::{
    prelude::*,
    sync::atomic::Relaxed, //
};

/// What is known since the mount began.
pub(crate) struct About {
    /// The path is in the super block, or does not fit there.
    told_path: Atomic<bool>,
    /// KiB written in all mounts before.
    kbytes_before: u64,
    /// What the device had counted by then.
    sectors_before: u64,
    /// When that was last told the super block (seconds since 1970), and the KiB that it was told.
    told_at: Atomic<u64>,
    told_kbytes: Atomic<u64>,
    /// How long it is told nothing, in seconds, and how little it is not told for, in KiB.
    pub(super) update_sec: Atomic<u32>,
    pub(super) update_kb: Atomic<u32>,
}

impl About {
    /// At a mount: the KiB that the super block has, when it was told them, and the sectors that
    /// the device has counted.
    pub(crate) fn new(kbytes: u64, at: u64, sectors: u64) -> Self {
        Self {
            told_path: Atomic::new(false),
            kbytes_before: kbytes,
            sectors_before: sectors,
            told_at: Atomic::new(at),
            told_kbytes: Atomic::new(kbytes),
            update_sec: Atomic::new(3600),
            update_kb: Atomic::new(16 << 10),
        }
    }

    /// KiB written to the file system by this mount.
    pub(crate) fn kbytes_since_mount(&self, device: &BlockDevice) -> u64 {
        device.sectors_written().saturating_sub(self.sectors_before) / 2
    }

    /// KiB written to the file system in its life.
    pub(crate) fn kbytes_written(&self, device: &BlockDevice) -> u64 {
        self.kbytes_before
            .saturating_add(self.kbytes_since_mount(device))
    }

    /// Whether a crash would lose more of it than it should. Any context.
    fn is_due(&self, device: &BlockDevice) -> bool {
        let age = now().saturating_sub(self.told_at.load(Relaxed));
        if age < self.update_sec.load(Relaxed).into() {
            return false;
        }
        let told = self.told_kbytes.load(Relaxed);
        let more = self.kbytes_written(device).saturating_sub(told);
        more > self.update_kb.load(Relaxed).into()
    }
}

/// Seconds since 1970.
pub(super) fn now() -> u64 {
    crate::vfs::inode::now().sec as u64
}

/// Brings up to date what is no part of a transaction: times and counts.
pub(super) fn tell_figures(sb: &Sb, raw: &mut RawSuper) {
    let fs = sb.data();
    let (sec, kbytes) = (now(), fs.about.kbytes_written(sb.device()));
    alloc::update_super_counts(fs, raw);
    raw.set_kbytes_written(kbytes);
    raw.set_wtime(sec);
    fs.about.told_at.store(sec, Relaxed);
    fs.about.told_kbytes.store(kbytes, Relaxed);
}

/// A transaction has committed: [`update_figures`] may have something to do. Starts no handle.
pub(super) fn after_commit(sb: &Sb) {
    let fs = sb.data();
    if fs.about.is_due(sb.device()) {
        fs.later.schedule();
    }
}

/// Brings the super block up to date when that is due. No lock and no handle is held.
pub(super) fn update_figures(sb: &Sb) {
    let fs = sb.data();
    if fs.access.get() != Access::Writing || !fs.about.is_due(sb.device()) {
        return;
    }
    let told = fs.start(credits::SUPER).and_then(|handle| {
        journal_super(&handle, fs, |raw| tell_figures(sb, raw))?;
        handle.stop()
    });
    // The end of the mount does it, or the next commit.
    let _ = told;
}

/// A file is opened: with the first one the path of the mount goes into the super block. Not
/// before, since a mount has none until it is over.
pub(crate) fn opened(file: &File<Rext4>) {
    let fs = file.inode().fs();
    let told = &fs.about.told_path;
    // A freeze or a read-only mount may end.
    if told.load(Relaxed) || fs.access.get() != Access::Writing {
        return;
    }
    if told.xchg(true, Relaxed) {
        return;
    }
    if let Err(e) = tell_path(fs, file) {
        told.store(e == ENAMETOOLONG, Relaxed);
    }
}

fn tell_path(fs: &Rext4, file: &File<Rext4>) -> Result {
    let mut buf = [0; 64];
    let path = file.mount_point(&mut buf)?;
    let handle = fs.start(credits::SUPER)?;
    journal_super(&handle, fs, |raw| raw.set_last_mounted(path.to_bytes()))?;
    handle.stop()
}

/// The label (`FS_IOC_GETFSLABEL`).
pub(crate) fn label(sb: &Sb) -> Result<Label> {
    read_super(sb.data(), |raw| raw.volume_name)
}

/// Changes the label (`FS_IOC_SETFSLABEL`).
pub(crate) fn set_label(file: &File<Rext4>, label: &Label) -> Result {
    change_all(file, |raw| raw.volume_name = *label)
}

/// The UUID (`EXT4_IOC_GETFSUUID`).
pub(crate) fn uuid(sb: &Sb) -> Result<Uuid> {
    read_super(sb.data(), |raw| raw.uuid)
}

/// Whether the UUID can be another one: no checksum begins with it, nor is it a part of a key of
/// encrypted files.
pub(crate) fn check_new_uuid(sb: &Sb) -> Result {
    let geo = &sb.data().geo;
    let own_seed = geo.features.has_incompat(features::INCOMPAT_CSUM_SEED);
    if geo.has_gdt_csum
        || geo.has_metadata_csum && !own_seed
        || geo.features.has_compat(features::COMPAT_STABLE_INODES)
    {
        return Err(EOPNOTSUPP);
    }
    Ok(())
}

/// Changes the UUID (`EXT4_IOC_SETFSUUID`), after [`check_new_uuid`]. What the VFS knows of it, and
/// tells by `FS_IOC_GETFSUUID`, stays as it was until the next mount, as with ext4.
pub(crate) fn set_uuid(file: &File<Rext4>, uuid: &Uuid) -> Result {
    change_all(file, |raw| raw.uuid = *uuid)
}

/// Changes the super block and then its copies, each in a transaction of its own: who mounts by
/// label or UUID looks at the first one, and a copy that a crash leaves as it was is only seen by
/// who asks for it. So do two who change them at the same time.
fn change_all(file: &File<Rext4>, change: impl Fn(&mut RawSuper)) -> Result {
    let (inode, sb) = (file.inode(), file.inode().sb());
    let fs = sb.data();
    let handle = fs.start(credits::SUPER)?;
    journal_super(&handle, fs, &change)?;
    handle.stop()?;
    for group in (1..fs.geo.groups_count).filter(|&group| fs.geo.group_has_super(group)) {
        let block = fs.geo.group_first_block(group);
        let bh = sb.bread(block.get())?;
        let handle = fs.start(credits::SUPER)?;
        if !journal_backup(&handle, fs, &bh, &change)? {
            let id = sb.id();
            pr_warn!(
                "{}: block {}: no copy of the super block, not changed\n",
                id,
                block
            );
        }
        handle.stop()?;
        if inode.interrupted() {
            return Err(EINTR);
        }
    }
    Ok(())
}

/// `statfs(2)`.
pub(super) fn statfs(sb: &Sb) -> Result<StatFs> {
    let fs = sb.data();
    let count = alloc::count_free(sb);
    // Nobody else waits for a disk that cannot be read.
    let uuid = uuid(sb).unwrap_or(fs.geo.uuid);
    let word = |from: usize| {
        uuid.iter()
            .skip(from)
            .take(8)
            .rev()
            .fold(0u64, |n, b| n << 8 | u64::from(*b))
    };
    Ok(StatFs {
        magic: 0xef53,
        block_size: fs.geo.block_size.into(),
        blocks: if fs.options.lock().minixdf {
            fs.geo.blocks_count
        } else {
            fs.geo.blocks_count.saturating_sub(count.overhead)
        },
        blocks_free: count.blocks_free,
        blocks_available: count.blocks_available,
        files: fs.geo.inodes_count.into(),
        files_free: count.files_free,
        name_len: 255,
        fsid: word(0) ^ word(8),
    })
}
