// SPDX-License-Identifier: GPL-2.0

//! The 1024 bytes of the superblock (`Documentation/filesystems/ext4/super.rst`): their fields, and
//! the changes a mounted filesystem makes to them.

use super::checksum::crc32c;
use super::features::*;
use super::{BlockEdit, Ino, Result};
use core::mem::offset_of;
use zerocopy::little_endian::{U16, U32, U64};
use zerocopy_derive::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// Byte offset of the superblock on the device, whatever the block size.
pub const SUPER_OFFSET: u64 = 1024;
/// Size of the superblock in bytes.
pub const SUPER_SIZE: usize = 1024;
/// `s_magic`.
pub const MAGIC: u16 = 0xef53;

/// `s_state`: cleanly unmounted.
pub const STATE_VALID: u16 = 0x0001;
/// `s_state`: errors were found.
pub const STATE_ERROR: u16 = 0x0002;

/// `s_flags`: directory hashes take names as signed characters.
pub const FLAG_SIGNED_HASH: u32 = 0x0001;
/// `s_flags`: as unsigned ones.
pub const FLAG_UNSIGNED_HASH: u32 = 0x0002;

/// The superblock as it lies on the disk.
#[derive(Clone, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
#[allow(missing_docs, reason = "the field names are those of the format")]
pub struct RawSuper {
    pub inodes_count: U32,
    pub blocks_count_lo: U32,
    pub r_blocks_count_lo: U32,
    pub free_blocks_count_lo: U32,
    pub free_inodes_count: U32,
    pub first_data_block: U32,
    pub log_block_size: U32,
    pub log_cluster_size: U32,
    pub blocks_per_group: U32,
    pub clusters_per_group: U32,
    pub inodes_per_group: U32,
    pub mtime: U32,
    pub wtime: U32,
    pub mnt_count: U16,
    pub max_mnt_count: U16,
    pub magic: U16,
    pub state: U16,
    pub errors: U16,
    pub minor_rev_level: U16,
    pub lastcheck: U32,
    pub checkinterval: U32,
    pub creator_os: U32,
    pub rev_level: U32,
    pub def_resuid: U16,
    pub def_resgid: U16,
    pub first_ino: U32,
    pub inode_size: U16,
    pub block_group_nr: U16,
    pub feature_compat: U32,
    pub feature_incompat: U32,
    pub feature_ro_compat: U32,
    pub uuid: [u8; 16],
    pub volume_name: [u8; 16],
    pub last_mounted: [u8; 64],
    pub algorithm_usage_bitmap: U32,
    pub prealloc_blocks: u8,
    pub prealloc_dir_blocks: u8,
    pub reserved_gdt_blocks: U16,
    pub journal_uuid: [u8; 16],
    pub journal_inum: U32,
    pub journal_dev: U32,
    pub last_orphan: U32,
    pub hash_seed: [U32; 4],
    pub def_hash_version: u8,
    pub jnl_backup_type: u8,
    pub desc_size: U16,
    pub default_mount_opts: U32,
    pub first_meta_bg: U32,
    pub mkfs_time: U32,
    pub jnl_blocks: [U32; 17],
    pub blocks_count_hi: U32,
    pub r_blocks_count_hi: U32,
    pub free_blocks_count_hi: U32,
    pub min_extra_isize: U16,
    pub want_extra_isize: U16,
    pub flags: U32,
    pub raid_stride: U16,
    pub mmp_update_interval: U16,
    pub mmp_block: U64,
    pub raid_stripe_width: U32,
    pub log_groups_per_flex: u8,
    pub checksum_type: u8,
    pub encryption_level: u8,
    pub reserved_pad: u8,
    pub kbytes_written: U64,
    pub snapshot_inum: U32,
    pub snapshot_id: U32,
    pub snapshot_r_blocks_count: U64,
    pub snapshot_list: U32,
    pub error_count: U32,
    pub first_error_time: U32,
    pub first_error_ino: U32,
    pub first_error_block: U64,
    pub first_error_func: [u8; 32],
    pub first_error_line: U32,
    pub last_error_time: U32,
    pub last_error_ino: U32,
    pub last_error_line: U32,
    pub last_error_block: U64,
    pub last_error_func: [u8; 32],
    pub mount_opts: [u8; 64],
    pub usr_quota_inum: U32,
    pub grp_quota_inum: U32,
    pub overhead_clusters: U32,
    pub backup_bgs: [U32; 2],
    pub encrypt_algos: [u8; 4],
    pub encrypt_pw_salt: [u8; 16],
    pub lpf_ino: U32,
    pub prj_quota_inum: U32,
    pub checksum_seed: U32,
    pub wtime_hi: u8,
    pub mtime_hi: u8,
    pub mkfs_time_hi: u8,
    pub lastcheck_hi: u8,
    pub first_error_time_hi: u8,
    pub last_error_time_hi: u8,
    pub first_error_errcode: u8,
    pub last_error_errcode: u8,
    pub encoding: U16,
    pub encoding_flags: U16,
    pub orphan_file_inum: U32,
    pub def_resuid_hi: U16,
    pub def_resgid_hi: U16,
    pub reserved: [U32; 93],
    pub checksum: U32,
}

const _: () = assert!(core::mem::size_of::<RawSuper>() == SUPER_SIZE);

/// The fields that say how large the filesystem is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SizeFields {
    /// Blocks.
    pub blocks: u64,
    /// Blocks kept for the superuser.
    pub root_blocks: u64,
    /// Free blocks.
    pub free_blocks: u64,
    /// Inodes.
    pub inodes: u32,
    /// Free inodes.
    pub free_inodes: u32,
    /// Blocks kept for more descriptors.
    pub reserved_gdt_blocks: u16,
    /// Blocks that are no file's; 0 where that is not told.
    pub overhead: u32,
}

fn join(lo: U32, hi: U32) -> u64 {
    u64::from(lo.get()) | (u64::from(hi.get()) << 32)
}

/// The first bytes of `text`, then zeros.
fn pad<const N: usize>(text: &[u8]) -> [u8; N] {
    let mut field = [0; N];
    for (to, from) in field.iter_mut().zip(text) {
        *to = *from;
    }
    field
}

impl RawSuper {
    /// The features, unchecked.
    pub fn features(&self) -> Features {
        Features {
            compat: self.feature_compat.get(),
            incompat: self.feature_incompat.get(),
            ro_compat: self.feature_ro_compat.get(),
        }
    }

    fn is_64bit(&self) -> bool {
        self.features().has_incompat(INCOMPAT_64BIT)
    }

    /// Blocks in the filesystem.
    pub fn blocks_count(&self) -> u64 {
        self.widen(self.blocks_count_lo, self.blocks_count_hi)
    }

    /// Blocks reserved for the superuser.
    pub fn reserved_blocks_count(&self) -> u64 {
        self.widen(self.r_blocks_count_lo, self.r_blocks_count_hi)
    }

    fn widen(&self, lo: U32, hi: U32) -> u64 {
        if self.is_64bit() {
            join(lo, hi)
        } else {
            u64::from(lo.get())
        }
    }

    /// Sets the count of free blocks.
    pub fn set_free_blocks_count(&mut self, n: u64) {
        self.free_blocks_count_lo.set(n as u32);
        if self.is_64bit() {
            self.free_blocks_count_hi.set((n >> 32) as u32);
        }
    }

    /// Sets the count of free inodes.
    pub fn set_free_inodes_count(&mut self, n: u32) {
        self.free_inodes_count.set(n);
    }

    /// What it says of the size of the filesystem.
    pub fn size(&self) -> SizeFields {
        SizeFields {
            blocks: self.blocks_count(),
            root_blocks: self.reserved_blocks_count(),
            free_blocks: self.widen(self.free_blocks_count_lo, self.free_blocks_count_hi),
            inodes: self.inodes_count.get(),
            free_inodes: self.free_inodes_count.get(),
            reserved_gdt_blocks: self.reserved_gdt_blocks.get(),
            overhead: self.overhead_clusters.get(),
        }
    }

    /// Makes it say something else.
    pub fn set_size(&mut self, size: &SizeFields) {
        self.blocks_count_lo.set(size.blocks as u32);
        self.r_blocks_count_lo.set(size.root_blocks as u32);
        if self.is_64bit() {
            self.blocks_count_hi.set((size.blocks >> 32) as u32);
            self.r_blocks_count_hi.set((size.root_blocks >> 32) as u32);
        }
        self.set_free_blocks_count(size.free_blocks);
        self.inodes_count.set(size.inodes);
        self.set_free_inodes_count(size.free_inodes);
        self.reserved_gdt_blocks.set(size.reserved_gdt_blocks);
        self.overhead_clusters.set(size.overhead);
    }

    /// Makes a copy of the primary superblock one for another group, where no mount has anything to
    /// say.
    pub fn make_backup(&mut self, group: u32) {
        // As every other implementation: there are 16 bits.
        self.block_group_nr.set(group as u16);
        self.set_incompat(INCOMPAT_RECOVER, false);
        self.update_checksum();
    }

    /// User and group that may use the reserved blocks.
    pub fn reserved_owner(&self) -> (u32, u32) {
        let uid = u32::from(self.def_resuid.get()) | (u32::from(self.def_resuid_hi.get()) << 16);
        let gid = u32::from(self.def_resgid.get()) | (u32::from(self.def_resgid_hi.get()) << 16);
        (uid, gid)
    }

    /// Whether `s_state` has all bits of `mask`.
    pub fn has_state(&self, mask: u16) -> bool {
        self.state.get() & mask == mask
    }

    /// Sets and clears bits of `s_state`.
    pub fn update_state(&mut self, set: u16, clear: u16) {
        self.state.set((self.state.get() & !clear) | set);
    }

    /// Sets or clears a `compat` bit (`ext_attr`, at the first attribute).
    pub fn set_compat(&mut self, mask: u32, on: bool) {
        let old = self.feature_compat.get();
        self.feature_compat
            .set(if on { old | mask } else { old & !mask });
    }

    /// Sets or clears an `incompat` bit (only `recover` changes while mounted).
    pub fn set_incompat(&mut self, mask: u32, on: bool) {
        let old = self.feature_incompat.get();
        self.feature_incompat
            .set(if on { old | mask } else { old & !mask });
    }

    /// Sets or clears a `ro_compat` bit (`orphan_present`, and `large_file` at the first one).
    pub fn set_ro_compat(&mut self, mask: u32, on: bool) {
        let old = self.feature_ro_compat.get();
        self.feature_ro_compat
            .set(if on { old | mask } else { old & !mask });
    }

    /// Says how names are hashed where nothing says it yet: as unsigned characters, which is what
    /// Linux does today on every machine. Nobody else may guess otherwise.
    pub fn set_hash_flag(&mut self) {
        let flags = self.flags.get();
        if self.features().has_compat(COMPAT_DIR_INDEX)
            && flags & (FLAG_SIGNED_HASH | FLAG_UNSIGNED_HASH) == 0
        {
            self.flags.set(flags | FLAG_UNSIGNED_HASH);
        }
    }

    /// Head of the list of orphan inodes, none when empty.
    pub fn last_orphan(&self) -> Option<Ino> {
        Ino::from_disk(self.last_orphan.get())
    }

    /// Has `change` say with what the list of orphan inodes begins; returns with what it began. Of
    /// a superblock at byte `at` of its block, where it lies: the list changes often.
    pub fn change_last_orphan<B: BlockEdit + ?Sized>(
        block: &mut B,
        at: usize,
        change: impl FnOnce(Option<Ino>) -> Option<Ino>,
    ) -> Result<Option<Ino>> {
        let head = at + offset_of!(RawSuper, last_orphan);
        let csum = at + offset_of!(RawSuper, checksum);
        let old = Ino::from_disk(block.le32(head)?);
        let new = change(old);
        if new != old {
            block.set(head, &Ino::to_disk(new).to_le_bytes())?;
            let features = block.le32(at + offset_of!(RawSuper, feature_ro_compat))?;
            if features & RO_COMPAT_METADATA_CSUM != 0 {
                let crc = block.crc32c(!0, at..csum)?;
                block.set(csum, &crc.to_le_bytes())?;
            }
        }
        Ok(old)
    }

    /// Time of the last write, seconds since 1970.
    pub fn set_wtime(&mut self, sec: u64) {
        self.wtime.set(sec as u32);
        self.wtime_hi = (sec >> 32) as u8;
    }

    /// What [`RawSuper::set_wtime`] has set.
    pub fn written_at(&self) -> u64 {
        u64::from(self.wtime.get()) | u64::from(self.wtime_hi) << 32
    }

    /// Records a mount: time (seconds since 1970) and count.
    pub fn set_mounted(&mut self, sec: u64) {
        self.mtime.set(sec as u32);
        self.mtime_hi = (sec >> 32) as u8;
        self.mnt_count.set(self.mnt_count.get().saturating_add(1));
    }

    /// Records where it is mounted: a path of at most 64 bytes, padded with zeros.
    pub fn set_last_mounted(&mut self, path: &[u8]) {
        self.last_mounted = pad(path);
    }

    /// Records how much has ever been written, in KiB.
    pub fn set_kbytes_written(&mut self, kbytes: u64) {
        self.kbytes_written.set(kbytes);
    }

    /// Why a filesystem that is about to be mounted at `sec` (seconds since 1970) should be checked
    /// first, if it should.
    pub fn check_advice(&self, sec: u64) -> Option<&'static str> {
        let limit = self.max_mnt_count.get() as i16;
        let due = u64::from(self.lastcheck.get())
            + (u64::from(self.lastcheck_hi) << 32)
            + u64::from(self.checkinterval.get());
        if !self.has_state(STATE_VALID) {
            Some("it was not unmounted cleanly, and never checked since")
        } else if self.error_mark().is_set() {
            Some("it has errors")
        } else if limit > 0 && self.mnt_count.get() >= limit as u16 {
            Some("it has reached its maximal mount count")
        } else if self.checkinterval.get() != 0 && due <= sec {
            Some("its last check is too long ago")
        } else {
            None
        }
    }

    fn computed_checksum(&self) -> u32 {
        let bytes = zerocopy::IntoBytes::as_bytes(self);
        crc32c(!0, bytes.get(..SUPER_SIZE - 4).unwrap_or(&[]))
    }

    /// Whether the checksum is right; true where the filesystem has none.
    pub fn checksum_matches(&self) -> bool {
        !self.features().has_ro_compat(RO_COMPAT_METADATA_CSUM)
            || self.checksum.get() == self.computed_checksum()
    }

    /// Whether these are the bytes of a superblock, as somebody has written them.
    pub fn is_intact(&self) -> bool {
        self.magic.get() == MAGIC && self.checksum_matches()
    }

    /// Brings the checksum up to date; the last step of every change.
    pub fn update_checksum(&mut self) {
        if self.features().has_ro_compat(RO_COMPAT_METADATA_CSUM) {
            self.checksum.set(self.computed_checksum());
        }
    }
}
