// SPDX-License-Identifier: GPL-2.0

//! The checks that make a superblock a [`Geometry`]: each looks at one subject and hands on numbers
//! that the next may compute with. Nothing of the superblock is used before its check.

use super::checksum::fs_seed;
use super::features::*;
use super::superblock::SbError::Geometry as Bad;
use super::superblock::*;
use super::Ino;

type Result<T> = core::result::Result<T, SbError>;

const CHECKSUM_TYPE_CRC32C: u8 = 1;
const GOOD_OLD_INODE_SIZE: u16 = 128;
const GOOD_OLD_FIRST_INO: u32 = 11;
/// Size of the inode fields this module knows beyond the first 128 bytes.
const EXTRA_ISIZE_KNOWN: u16 = 32;

/// The units: a block and a cluster, and how many blocks a group has.
struct Units {
    /// log2 of the bytes in a block.
    block_bits: u32,
    /// log2 of the blocks in a cluster.
    ratio_bits: u32,
    blocks_per_group: u32,
}

impl Units {
    fn block_size(&self) -> u32 {
        1 << self.block_bits
    }

    /// Where the first superblock lies: behind the boot block of 1 KiB.
    fn super_block(&self) -> u32 {
        u32::from(self.block_bits == 10)
    }
}

/// The groups and what each has of inodes.
struct GroupLayout {
    count: u32,
    inode_size: u16,
    first_ino: Ino,
    inodes_per_group: u32,
    itable_blocks: u32,
}

/// The table of group descriptors.
struct Descriptors {
    size: u16,
    blocks: u32,
    reserved: u16,
}

impl Geometry {
    /// Checks a superblock and computes the geometry; `device_bytes` is the size of the device.
    pub fn parse(sb: &RawSuper, device_bytes: u64) -> Result<Self> {
        let features = check_features(sb)?;
        let units = check_units(sb, &features)?;
        let blocks = check_blocks(sb, &features, &units, device_bytes)?;
        let groups = check_groups(sb, &units, blocks)?;
        let descs = check_descriptors(sb, &features, &units, groups.count)?;
        check_directories(sb, &features)?;
        let extra_isize = check_extra_isize(sb, &features, groups.inode_size)?;
        let csum = features.has_ro_compat(RO_COMPAT_METADATA_CSUM);
        Ok(Geometry {
            block_size: units.block_size(),
            block_bits: units.block_bits,
            blocks_count: blocks,
            first_data_block: sb.first_data_block.get(),
            blocks_per_group: units.blocks_per_group,
            groups_count: groups.count,
            inodes_count: sb.inodes_count.get(),
            inodes_per_group: groups.inodes_per_group,
            inode_size: groups.inode_size,
            itable_blocks: groups.itable_blocks,
            first_ino: groups.first_ino,
            want_extra_isize: extra_isize.want,
            min_extra_isize: extra_isize.min,
            desc_size: descs.size,
            gdt_blocks: descs.blocks,
            reserved_gdt_blocks: descs.reserved,
            cluster_bits: units.block_bits + units.ratio_bits,
            cluster_overhead: Some(u64::from(sb.overhead_clusters.get()) << units.ratio_bits)
                .filter(|taken| units.ratio_bits > 0 && (1..blocks).contains(taken)),
            super_block: units.super_block(),
            log_groups_per_flex: check_flex(sb, &features)?,
            backup_groups: sb.backup_bgs.map(|group| group.get()),
            has_metadata_csum: csum,
            has_gdt_csum: !csum && features.has_ro_compat(RO_COMPAT_GDT_CSUM),
            has_inode_csum: csum && sb.creator_os.get() == 0,
            csum_seed: csum_seed(sb, &features),
            uuid: sb.uuid,
            journal_inum: check_journal(sb, &features)?,
            journal_dev: sb.journal_dev.get(),
            orphan_file_inum: check_orphan_file(sb, &features)?,
            quota_inums: quota_inums(sb, &features),
            hash_seed: sb.hash_seed.map(|word| word.get()),
            def_hash_version: sb.def_hash_version,
            // Where neither flag is set the kernel of today, built with unsigned characters,
            // hashes them as unsigned.
            hash_unsigned: sb.flags.get() & FLAG_UNSIGNED_HASH != 0
                || sb.flags.get() & FLAG_SIGNED_HASH == 0,
            max_file_size: max_file_size(&features, units.block_bits),
            errors: match sb.errors.get() {
                1 => ErrorPolicy::Continue,
                3 => ErrorPolicy::Panic,
                _ => ErrorPolicy::RemountRo,
            },
            default_mount_opts: sb.default_mount_opts.get(),
            state: sb.state.get(),
            features,
        })
    }
}

/// That this is a superblock, whole, and of a filesystem that this module knows.
fn check_features(sb: &RawSuper) -> Result<Features> {
    if sb.magic.get() != MAGIC {
        return Err(SbError::BadMagic);
    }
    let features = sb.features();
    let csum = features.has_ro_compat(RO_COMPAT_METADATA_CSUM);
    if csum && sb.checksum_type != CHECKSUM_TYPE_CRC32C {
        return Err(SbError::ChecksumType(sb.checksum_type));
    }
    if !sb.checksum_matches() {
        return Err(SbError::Checksum);
    }
    if sb.rev_level.get() > 1 {
        return Err(Bad("superblock: unknown revision"));
    }
    // Revision 0 has no feature words; what lies there is not ours to read.
    if is_old(sb) && features != Features::default() {
        return Err(Bad("superblock: features in a revision 0 filesystem"));
    }
    match (features.unknown_incompat(), sb.encryption_level) {
        (0, level @ 1..) if features.has_incompat(INCOMPAT_ENCRYPT) => {
            Err(SbError::EncryptionLevel(level))
        }
        (0, _) => Ok(features),
        (unknown, _) => Err(SbError::Incompat(unknown)),
    }
}

fn is_old(sb: &RawSuper) -> bool {
    sb.rev_level.get() == 0
}

fn check_units(sb: &RawSuper, features: &Features) -> Result<Units> {
    let log = sb.log_block_size.get();
    if log > 2 {
        return Err(SbError::BlockSize(log));
    }
    let bigalloc = features.has_ro_compat(RO_COMPAT_BIGALLOC);
    let ratio_bits = match sb.log_cluster_size.get().checked_sub(log) {
        Some(0) => 0,
        Some(bits) if bigalloc && bits <= 20 => bits,
        _ => return Err(Bad("superblock: bad cluster size")),
    };
    let units = Units {
        block_bits: 10 + log,
        ratio_bits,
        blocks_per_group: sb.blocks_per_group.get(),
    };
    // One block is the bitmap of a group.
    let clusters = sb.clusters_per_group.get();
    if clusters == 0
        || clusters > units.block_size() * 8
        || clusters & 7 != 0
        || u64::from(clusters) << ratio_bits != u64::from(units.blocks_per_group)
    {
        return Err(Bad("superblock: bad number of blocks per group"));
    }
    Ok(units)
}

/// Blocks in the filesystem: they are on the device.
fn check_blocks(
    sb: &RawSuper,
    features: &Features,
    units: &Units,
    device_bytes: u64,
) -> Result<u64> {
    let blocks = sb.blocks_count();
    let first = sb.first_data_block.get();
    let bigalloc = features.has_ro_compat(RO_COMPAT_BIGALLOC);
    if first != units.super_block() && !(bigalloc && first == 0) {
        return Err(Bad("superblock: bad first data block"));
    }
    if blocks <= u64::from(first) {
        return Err(Bad("superblock: no blocks"));
    }
    let device_blocks = device_bytes >> units.block_bits;
    if blocks > device_blocks {
        return Err(SbError::Truncated {
            blocks,
            device_blocks,
        });
    }
    // Extents and inode fields hold 48 bits of a block number.
    if blocks > 1 << 48 {
        return Err(Bad("superblock: too many blocks"));
    }
    Ok(blocks)
}

fn check_groups(sb: &RawSuper, units: &Units, blocks: u64) -> Result<GroupLayout> {
    let (inode_size, first_ino) = if is_old(sb) {
        (GOOD_OLD_INODE_SIZE, GOOD_OLD_FIRST_INO)
    } else {
        (sb.inode_size.get(), sb.first_ino.get())
    };
    if inode_size < GOOD_OLD_INODE_SIZE
        || !inode_size.is_power_of_two()
        || u32::from(inode_size) > units.block_size()
    {
        return Err(Bad("superblock: bad inode size"));
    }
    let per_block = units.block_size() / u32::from(inode_size);
    let per_group = sb.inodes_per_group.get();
    if per_group < per_block
        || per_group > units.block_size() * 8
        || per_group & 7 != 0
        || per_group & (per_block - 1) != 0
    {
        return Err(Bad("superblock: bad number of inodes per group"));
    }
    let inodes = sb.inodes_count.get();
    let in_groups = blocks - u64::from(sb.first_data_block.get());
    let count = match u32::try_from(in_groups.div_ceil(u64::from(units.blocks_per_group))) {
        Ok(n) if u64::from(n) * u64::from(per_group) == u64::from(inodes) => n,
        _ => return Err(Bad("superblock: groups and inodes do not agree")),
    };
    if first_ino < GOOD_OLD_FIRST_INO || first_ino > inodes {
        return Err(Bad("superblock: bad first inode"));
    }
    Ok(GroupLayout {
        count,
        inode_size,
        first_ino: Ino::new(first_ino),
        inodes_per_group: per_group,
        itable_blocks: per_group / per_block,
    })
}

fn check_descriptors(
    sb: &RawSuper,
    features: &Features,
    units: &Units,
    groups: u32,
) -> Result<Descriptors> {
    let size = if features.has_incompat(INCOMPAT_64BIT) {
        sb.desc_size.get()
    } else {
        32
    };
    let known = size == 32 || (64..=1024).contains(&size) && size.is_power_of_two();
    if !known || features.has_incompat(INCOMPAT_64BIT) && size == 32 {
        return Err(Bad("superblock: bad group descriptor size"));
    }
    let blocks = groups.div_ceil(units.block_size() / u32::from(size));
    let reserved = sb.reserved_gdt_blocks.get();
    if u32::from(reserved) > units.block_size() / 4 {
        return Err(Bad("superblock: too many reserved descriptor blocks"));
    }
    // The primary superblock and table must leave room in group 0.
    let base = u64::from(blocks) + u64::from(reserved) + 1;
    let end = u64::from(units.super_block()) + base;
    if base >= u64::from(units.blocks_per_group) || end > sb.blocks_count() {
        return Err(Bad("superblock: group descriptors do not fit in group 0"));
    }
    Ok(Descriptors {
        size,
        blocks,
        reserved,
    })
}

fn check_directories(sb: &RawSuper, features: &Features) -> Result<()> {
    if features.has_compat(COMPAT_DIR_INDEX) && sb.def_hash_version > 2 {
        return Err(Bad("superblock: unknown default hash version"));
    }
    Ok(())
}

fn check_flex(sb: &RawSuper, features: &Features) -> Result<u8> {
    if !features.has_incompat(INCOMPAT_FLEX_BG) {
        return Ok(0);
    }
    if sb.log_groups_per_flex > 31 {
        return Err(Bad("superblock: bad flex group size"));
    }
    Ok(sb.log_groups_per_flex)
}

/// How many bytes of fields inodes have behind the first 128.
#[derive(Default)]
struct ExtraIsize {
    /// New ones.
    want: u16,
    /// All of them.
    min: u16,
}

fn check_extra_isize(sb: &RawSuper, features: &Features, inode_size: u16) -> Result<ExtraIsize> {
    let room = inode_size - GOOD_OLD_INODE_SIZE;
    if room == 0 {
        return Ok(ExtraIsize::default());
    }
    let mut extra = ExtraIsize {
        want: EXTRA_ISIZE_KNOWN,
        min: 0,
    };
    if features.has_ro_compat(RO_COMPAT_EXTRA_ISIZE) {
        for v in [sb.want_extra_isize.get(), sb.min_extra_isize.get()] {
            if v > room || v % 4 != 0 {
                return Err(Bad("superblock: bad extra inode size"));
            }
            extra.want = extra.want.max(v);
        }
        extra.min = sb.min_extra_isize.get();
    }
    Ok(extra)
}

/// The inode of the journal, if there is one inside.
fn check_journal(sb: &RawSuper, features: &Features) -> Result<Option<Ino>> {
    if !features.has_compat(COMPAT_HAS_JOURNAL) {
        return Ok(None);
    }
    match sb.journal_inum.get() {
        ino if ino <= sb.inodes_count.get() => Ok(Ino::from_disk(ino)),
        _ => Err(Bad("superblock: bad journal inode")),
    }
}

/// The inode of the orphan file, if there is one.
fn check_orphan_file(sb: &RawSuper, features: &Features) -> Result<Option<Ino>> {
    if !features.has_compat(COMPAT_ORPHAN_FILE) {
        return Ok(None);
    }
    match sb.orphan_file_inum.get() {
        ino if ino != 0 && ino <= sb.inodes_count.get() => Ok(Ino::from_disk(ino)),
        _ => Err(Bad("superblock: bad orphan file inode")),
    }
}

fn csum_seed(sb: &RawSuper, features: &Features) -> u32 {
    if features.has_incompat(INCOMPAT_CSUM_SEED) {
        sb.checksum_seed.get()
    } else {
        fs_seed(&sb.uuid)
    }
}

fn quota_inums(sb: &RawSuper, features: &Features) -> [Ino; 3] {
    if !features.has_ro_compat(RO_COMPAT_QUOTA) {
        return [Ino::default(); 3];
    }
    [sb.usr_quota_inum, sb.grp_quota_inum, sb.prj_quota_inum].map(|ino| Ino::new(ino.get()))
}

/// The largest size of a file, in bytes.
fn max_file_size(features: &Features, block_bits: u32) -> u64 {
    let extents = (MAX_FILE_BLOCKS << block_bits).min(i64::MAX as u64);
    if features.has_ro_compat(RO_COMPAT_HUGE_FILE) {
        return extents;
    }
    // Without huge_file the count of 512-byte units has 32 bits.
    extents.min((u64::from(u32::MAX) >> (block_bits - 9)) << block_bits)
}
