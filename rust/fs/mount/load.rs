// SPDX-License-Identifier: GPL-2.0

//! The first half of mount: the super block is read and checked.

use super::{
    crypt::{check_dummy_kept, set_up},
    refuse::{refuse, unsaid},
};
use crate::{
    disk::{
        superblock::{Geometry, RawSuper, SbError, SUPER_OFFSET}, //
    },
    fs::{
        about::About,
        access::AccessState,
        alloc,
        attributes::block::Sharers,
        grows::{GrowLock, Latest},
        inode,
        io::gate,
        marks::ErrorMarks,
        options::{Dax, InForce, Options},
        orphan::Slots,
        primary::Primary,
        Rext4, //
    },
    vfs::{
        atomic::Atomic,
        fs_context::MountLog,
        jbd2::JournalSlot,
        once::SetOnce,
        super_block::{FileSystem, Later, NewSuper, Remount},
    },
};
use kernel::{error::code::*, fmt, new_mutex, prelude::*};

/// Reads and checks the super block: the first half of mount.
#[inline(never)]
pub(in crate::fs) fn load(
    sb: &NewSuper<'_, Rext4>,
    opts: &Options,
) -> Result<impl PinInit<Rext4, Error>> {
    read_and_check(sb, opts).inspect_err(|&e| unsaid(sb.log(), e))
}

/// Reads the super block, whose place does not depend on the block size, which is in it: by the
/// device's own sectors.
fn read_raw(sb: &NewSuper<'_, Rext4>) -> Result<KBox<RawSuper>> {
    let fail = |why: fmt::Arguments<'_>, err| refuse(sb.id(), sb.log(), why, err);
    if sb.device_bytes() < SUPER_OFFSET + 1024 {
        let why = fmt!("the device is too small for a super block");
        return Err(fail(why, EINVAL));
    }
    let sector = sb.sector_size();
    let unit = sector.max(1024);
    sb.set_blocksize(unit).map_err(|e| {
        fail(
            fmt!("the device's sectors of {} bytes are not supported", sector),
            e,
        )
    })?;
    sb.bread(SUPER_OFFSET / u64::from(unit))?
        .read_boxed(SUPER_OFFSET as usize & (unit as usize - 1))
}

/// Whether this file system can be mounted on this device, as it is asked to.
fn check_mount(sb: &NewSuper<'_, Rext4>, geo: &Geometry, opts: &Options) -> Result {
    let fail = |why: fmt::Arguments<'_>, err| refuse(sb.id(), sb.log(), why, err);
    let sector = sb.sector_size();
    if geo.block_size < sector {
        return Err(fail(
            fmt!(
                "blocks of {} bytes, but the device has sectors of {}",
                geo.block_size,
                sector
            ),
            EINVAL,
        ));
    }
    if opts.dax() == Dax::Always {
        let page = kernel::page::PAGE_SIZE as u32;
        if geo.block_size != page {
            return Err(fail(
                fmt!(
                    "dax=always: blocks of {} bytes, pages of {}",
                    geo.block_size,
                    page
                ),
                EINVAL,
            ));
        }
        if !sb.has_memory() {
            let why = fmt!("dax=always: the device has no memory that can be mapped");
            return Err(fail(why, EINVAL));
        }
    }
    if sb.is_read_only() {
        return Ok(());
    }
    check_rw_mount(sb.id(), sb.log(), geo, sb.device_is_read_only())?;
    if opts.noload {
        return Err(fail(fmt!("norecovery needs a read-only mount"), EROFS));
    }
    Ok(())
}

/// Tells the VFS the largest file, and which times an inode can hold: with more than 128 bytes 34
/// bits of seconds, and nanoseconds.
fn set_limits(sb: &NewSuper<'_, Rext4>, geo: &Geometry) {
    let (max_time, granularity) = if geo.want_extra_isize >= 8 {
        ((3i64 << 32) + i64::from(i32::MAX), 1)
    } else {
        (i32::MAX.into(), 1_000_000_000)
    };
    sb.set_params(
        0xef53,
        geo.max_file_size as i64,
        (i32::MIN.into(), max_time, granularity),
        // The limit is not the same for all directories (dir_nlink): namei keeps it.
        0,
    );
}

/// The checked constants. In memory of their own until they have a place: moved from frame to frame
/// they would be in two of them at once, several times.
#[inline(never)]
fn parse(sb: &NewSuper<'_, Rext4>, raw: &RawSuper) -> Result<KBox<Geometry>> {
    let geo = Geometry::parse(raw, sb.device_bytes()).map_err(|why| {
        let err = EINVAL.or_corrupt(&why);
        refuse(sb.id(), sb.log(), fmt!("{}", why), err)
    })?;
    Ok(KBox::new(geo, GFP_KERNEL)?)
}

// Not part of the frame of its caller, which moves what this returns.
#[inline(never)]
fn read_and_check(sb: &NewSuper<'_, Rext4>, opts: &Options) -> Result<impl PinInit<Rext4, Error>> {
    let raw = read_raw(sb)?;
    let mut geo = parse(sb, &raw)?;
    check_mount(sb, &geo, opts)?;
    sb.set_blocksize(geo.block_size)?;
    let primary = Primary::new(sb, &geo)?;
    set_limits(sb, &geo);
    sb.set_export();
    sb.set_xattr();
    sb.set_acls(opts.acl);
    set_up(sb, &geo, opts)?;
    sb.set_uuid(&geo.uuid);
    let mut options = opts.with_defaults(&geo);
    options.suit(sb.device(), sb.id(), sb.log());
    let block_size = geo.block_size;
    // What comes of these is made in its place: this function and its caller both have all that the
    // initializer carries in their frames.
    let (kbytes, written_at) = (raw.kbytes_written.get(), raw.written_at());
    let sectors = sb.device().sectors_written();
    let groups = alloc::Groups::load(sb, &mut geo, &raw, &options)?;
    Ok(try_pin_init!(Rext4 {
        geo: Latest::new(geo)?,
        growth: GrowLock::new(),
        primary <- new_mutex!(primary, "rext4_super"),
        sharers <- Sharers::new(),
        journal: JournalSlot::new(),
        marks <- ErrorMarks::new(block_size),
        journal_dead: Atomic::new(false),
        later <- Later::new(Rext4::run_later),
        discarder <- Later::new(alloc::discard_freed),
        access <- AccessState::new(),
        groups <- groups,
        orphans <- inode::Orphans::new(),
        slots: Slots::new(),
        dio_gate: gate::Switch::new(options.dio_gate),
        dax: options.dax(),
        dummy_policy: SetOnce::new(),
        in_force: InForce::new(&options),
        options <- new_mutex!(options, "rext4_options"),
        about: About::new(kbytes, written_at, sectors),
        told_no_room: Atomic::new(false),
        errored: Atomic::new(0),
    }? Error))
}

/// Which error a bad super block means: not ours, or damaged.
trait OrCorrupt {
    fn or_corrupt(self, why: &SbError) -> Error;
}

impl OrCorrupt for Error {
    fn or_corrupt(self, why: &SbError) -> Error {
        match why {
            SbError::Checksum | SbError::Geometry(_) => EUCLEAN,
            _ => self,
        }
    }
}

/// Whether a file system like this can be mounted read-write; if not, why.
pub(super) fn check_rw_mount(
    id: &CStr,
    log: &MountLog<'_>,
    geo: &Geometry,
    device_read_only: bool,
) -> Result {
    if let Some(name) = geo.features.first_unknown_ro_compat() {
        return Err(refuse(
            id,
            log,
            fmt!("feature {} can only be mounted read-only", name),
            EROFS,
        ));
    }
    let why = match (geo.journal_inum, device_read_only) {
        (None, _) => "no journal: mount read-only",
        (_, true) => "the device is read-only",
        _ => return Ok(()),
    };
    Err(refuse(id, log, fmt!("{}", why), EROFS))
}

/// Whether a remount leaves what is decided at mount as it is.
pub(super) fn check_kept(remount: &Remount<'_, Rext4>, opts: &Options) -> Result {
    check_dummy_kept(remount, opts)?;
    let sb = remount.sb();
    if opts.dax == sb.data().options.lock().dax {
        return Ok(());
    }
    let why = fmt!("dax= cannot be changed by a remount");
    Err(refuse(sb.id(), remount.log(), why, EINVAL))
}
