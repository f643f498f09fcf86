// SPDX-License-Identifier: GPL-2.0

//! An inode as it comes from the table: looked up in memory, read, checked, set up.

use super::{from_disk, has_projects, set_operations, vfs_flags, Inode, InodeRef, Rext4, Sb};
use crate::{
    disk::{
        self,
        inode::{flags, HEAD_MAX, S_IFLNK, S_IFMT}, //
        Ino,
    },
    fs::{
        alloc,
        extent::{self, MapKind},
        itable::Iloc, //
    },
    vfs::{
        inode::{Hashed, Iget, NewInode},
        jbd2::Tid, //
    },
};
use kernel::{error::code::*, prelude::*, sync::atomic::ordering};

/// Reads inode `ino`, or finds it in memory. `ESTALE` for one that is not in use, `EUCLEAN` for
/// one that cannot be believed.
pub(crate) fn iget(sb: &Sb, ino: Ino) -> Result<InodeRef<'_>> {
    iget_from(sb, ino, Origin::Name)
}

/// Like [`iget`], for a number that [`super::export`] got and has checked.
pub(in crate::fs) fn iget_by_handle(sb: &Sb, ino: Ino) -> Result<InodeRef<'_>> {
    iget_from(sb, ino, Origin::Handle)
}

/// Like [`iget`], for an inode of the orphan list, which may have no links.
pub(crate) fn iget_orphan(sb: &Sb, ino: Ino) -> Result<InodeRef<'_>> {
    iget_from(sb, ino, Origin::Orphans)
}

/// Where an inode's number is from.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Origin {
    Name,
    Handle,
    Orphans,
}

fn iget_from(sb: &Sb, ino: Ino, origin: Origin) -> Result<InodeRef<'_>> {
    let geo = &sb.data().geo;
    if !geo.inode_exists(ino) {
        return Err(sb.corrupted(fmt!("inode number {} out of range", ino)));
    }
    let new = match sb.iget(ino.into())? {
        Iget::Ready(inode) => return Ok(inode),
        Iget::New(new) => new,
    };
    let place = Iloc::locate_ahead(sb, ino)?;
    let content = bring_in(&new, &place, origin)?;
    let link = content.target.as_ref();
    let link = link.and_then(|(text, len)| text.get(..*len));
    Ok(set_operations(new, link, content.rdev)?.publish())
}

/// What `set_operations` asks for.
struct Loaded {
    /// The target of a short symlink, and its length.
    target: Option<([u8; disk::inode::BLOCK_BYTES], usize)>,
    /// A device's number, or 0.
    rdev: u32,
}

/// Brings the inode from its table to where it stays. Nobody else has it yet, so the lock waits for
/// nobody.
#[inline(never)]
fn bring_in(new: &NewInode<'_, Rext4, Hashed>, place: &Iloc, origin: Origin) -> Result<Loaded> {
    let mut fields = new.info().fields.lock();
    load_fields(new, place, origin, &mut fields)?;
    fill_inode(new, &mut fields)
}

fn load_fields(
    new: &NewInode<'_, Rext4, Hashed>,
    place: &Iloc,
    origin: Origin,
    fields: &mut disk::InodeFields,
) -> Result {
    let (geo, ino) = (&*new.fs().geo, new.ino());
    let mut raw = [0u8; HEAD_MAX];
    let raw = place.read(geo, &mut raw)?;
    let read = fields.read(raw, geo);

    // What a handle names may be free by now, and cleared for another inode just when it is read.
    if origin == Origin::Handle && read.is_ok() && fields.links == 0 {
        return Err(ESTALE);
    }
    // A deleted inode keeps its checksum but need not make sense otherwise. Orphans have no
    // links but a mode; what has neither is free.
    if !disk::inode::checksum_matches(raw, geo, ino, place.rest(geo))
        .map_err(|e| corrupt_inode(new, e))?
    {
        return Err(corrupt_inode(new, disk::Corrupt::InodeChecksum));
    }
    read.map_err(|e| corrupt_inode(new, e))?;
    if fields.links == 0 && (fields.mode == 0 || origin != Origin::Orphans) {
        return Err(ESTALE);
    }
    // The handle that an error is reported with has it, too.
    new.set_generation(fields.generation, fields.version);
    fields.check(geo).map_err(|e| corrupt_inode(new, e))
}

/// Reports an inode that cannot be believed.
#[track_caller]
fn corrupt_inode(inode: &Inode, why: disk::Corrupt) -> Error {
    inode.corrupted(fmt!("{}", why))
}

/// What `i_block` of an inode holds.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Block {
    /// The root of the map.
    Root(MapKind),
    /// The target of a short symlink.
    Target,
    /// Anything: a symlink that is only there to be deleted, and no block is left to free. Its text
    /// may be gone, too.
    Spent,
}

/// Looks at what only the file system as a whole can judge.
fn check_block(inode: &Inode, fields: &disk::InodeFields) -> Result<Block> {
    let (sb, ino) = (inode.sb(), inode.ino());
    let is_system = |block| alloc::is_system_block(sb, block, 1, None);
    if fields.file_acl.is_some_and(is_system) {
        return Err(inode.corrupted(fmt!("attributes in fixed metadata")));
    }
    if fields.mode & S_IFMT == S_IFLNK && fields.is_fast_symlink(&sb.data().geo) {
        return Ok(if fields.links == 0 {
            Block::Spent
        } else {
            Block::Target
        });
    }
    let kind = MapKind::of(fields.mode, fields.flags);
    extent::check_root(sb, ino, kind, &fields.block).map_err(|why| corrupt_inode(inode, why))?;
    Ok(Block::Root(kind))
}

/// What `stat` shows.
fn load_attributes(new: &NewInode<'_, Rext4, Hashed>, fields: &disk::InodeFields) {
    new.set_mode(fields.mode);
    new.set_owner(fields.uid, fields.gid);
    new.set_nlink(fields.links.into());
    new.set_size(fields.size);
    new.set_blocks(fields.blocks);
    new.set_times(
        from_disk(fields.atime),
        from_disk(fields.mtime),
        from_disk(fields.ctime),
    );
    new.set_flags(vfs_flags(fields.flags));
}

/// Sets up a VFS inode from what the disk says.
fn fill_inode(new: &NewInode<'_, Rext4, Hashed>, fields: &mut disk::InodeFields) -> Result<Loaded> {
    let (fs, ino) = (new.fs(), new.ino());
    let block = check_block(new, fields)?;
    if block == Block::Target {
        // Old drivers left the flag. With it the next write would put a tree over the target.
        fields.flags &= !flags::EXTENTS;
    }
    load_attributes(new, fields);

    let info = new.info();
    let seed = fields.csum_seed(&fs.geo, ino);
    info.csum_seed.store(seed, ordering::Relaxed);
    info.flags.store(fields.flags, ordering::Relaxed);
    if has_projects(fs) {
        info.set_projid(fields.projid);
    }
    info.set_disk_size(fields.size);
    info.may_grow.store(
        fields.extra_isize < fs.geo.want_extra_isize,
        ordering::Relaxed,
    );
    // What changed the inode before it was read may not have committed yet.
    let tid = fs.journal().map_or(Tid::default(), |j| j.latest_tid());
    info.sync_tid.store(tid, ordering::Relaxed);
    info.datasync_tid.store(tid, ordering::Relaxed);
    info.set_btime(fields.crtime);
    let (major, minor) = fields.device();
    let mut content = Loaded {
        target: None,
        rdev: (major << 20) | minor,
    };
    match block {
        Block::Root(kind) => info.extents.lock().load_root(kind, &fields.block),
        Block::Spent => {
            let kind = MapKind::of(fields.mode, fields.flags);
            info.extents.lock().init_root(kind);
        }
        // An encrypted one is read when somebody asks for it.
        Block::Target if fields.is_encrypted() => (),
        Block::Target => {
            let text = fields.fast_symlink().map_err(|e| corrupt_inode(new, e))?;
            content.target = Some((fields.block, text.len()));
        }
    }
    Ok(content)
}
