// SPDX-License-Identifier: GPL-2.0

//! How a new inode begins: its number, its owner, and what it has from its directory.

use super::{flags_of_type, store_inode, to_disk, vfs_flags, Inode, Rext4, Stored};
use crate::{
    disk::{
        self,
        features::INCOMPAT_EXTENTS,
        inode::{flags, GOOD_OLD_SIZE, S_IFDIR, S_IFLNK, S_IFMT, S_IFREG},
    },
    fs::{alloc, extent::MapKind, options::Dax},
    vfs::{
        fscrypt::{Context, LinkLen},
        inode::{Fresh, Hashed, IdMap, NewInode},
        jbd2::Handle, //
    },
};
use kernel::{
    error::code::*,
    prelude::*,
    sync::atomic::ordering, //
};

/// What kind of inode [`init_new`] makes.
#[derive(Clone, Copy)]
pub(crate) enum NewKind<'a> {
    /// A regular file, a directory, or a symbolic link that is going to have a block.
    Plain,
    /// A device node, pipe or socket, with the device number in the kernel's encoding.
    Device(u32),
    /// A symbolic link whose target is short enough for the inode: on the disk it has this length.
    ShortLink(&'a [u8], LinkLen),
}

/// What [`init_new`] makes.
pub(crate) struct Birth<'a> {
    pub(crate) idmap: IdMap<'a>,
    pub(crate) mode: u16,
    pub(crate) kind: NewKind<'a>,
}

/// The flags that an inode of this mode takes over from its directory.
fn inherited(dir: &Inode, mode: u16) -> u32 {
    dir.info().flags() & flags::INHERITED & flags_of_type(mode)
}

/// The project of a new inode: that of its directory, if this says so.
fn inherited_project(dir: &Inode) -> u32 {
    let info = dir.info();
    if info.flags() & flags::PROJINHERIT != 0 {
        info.projid()
    } else {
        0
    }
}

/// What a new inode holds beside data, as `set_operations` asks for it.
struct Content<'a> {
    /// The target of a symlink that lives in the inode.
    link: Option<&'a [u8]>,
    /// A device's number, or 0.
    rdev: u32,
}

/// Fills `i_block` and the flag that says what it holds: where the file system has extents, new
/// inodes do.
fn set_block<'a>(
    new: &NewInode<'_, Rext4, Hashed>,
    fields: &mut disk::InodeFields,
    kind: NewKind<'a>,
) -> Result<Content<'a>> {
    let mut content = Content {
        link: None,
        rdev: 0,
    };
    match kind {
        NewKind::Device(dev) => {
            content.rdev = dev;
            fields.set_device(dev >> 20, dev & 0xf_ffff);
        }
        NewKind::ShortLink(target, len) => {
            content.link = Some(target);
            let stored = if new.has_crypt_key() {
                fields.set_fast_symlink(&new.encrypt_link(target, len)?)
            } else {
                fields.set_fast_symlink(target)
            };
            if !stored {
                return Err(ENAMETOOLONG);
            }
        }
        NewKind::Plain if new.fs().geo.features.has_incompat(INCOMPAT_EXTENTS) => {
            fields.flags |= flags::EXTENTS;
        }
        NewKind::Plain => (),
    }
    Ok(content)
}

/// What `stat` shows of a new inode.
fn init_attributes(new: &mut NewInode<'_, Rext4, Hashed>, fields: &mut disk::InodeFields) {
    new.touch_mtime();
    let now = new.mtime();
    new.set_times(now, now, now);
    fields.crtime = to_disk(now);
    let is_dir = fields.mode & S_IFMT == S_IFDIR;
    new.set_nlink(if is_dir { 2 } else { 1 });
    new.set_size(0);
    new.set_first_generation(fields.generation);
    new.set_flags(vfs_flags(fields.flags));
}

/// Allocates a number for `new` below `dir` and sets it up, in memory and in this handle. On
/// error nothing is allocated, or what was in use all the time. `attributes` gives it extended
/// attributes, with the context if it is encrypted, and returns what its space for them is to hold;
/// on error they take no block.
pub(crate) fn init_new<'a>(
    handle: &Handle<'_>,
    mut new: NewInode<'a, Rext4, Fresh>,
    dir: &Inode,
    birth: &Birth<'_>,
    attributes: impl FnOnce(&NewInode<'_, Rext4>, Option<&Context>) -> Result<Option<KVec<u8>>>,
) -> Result<NewInode<'a, Rext4>> {
    let &Birth { idmap, mode, .. } = birth;
    if dir.fs().in_force.grpid() {
        new.init_owner_of_dir(idmap, dir, mode);
    } else {
        new.init_owner(idmap, dir, mode);
    }
    let sb = dir.sb();
    let (ino, generation) = alloc::inode(handle, sb, dir, new.mode())?;
    let new = new.insert(ino.into(), generation).map_err(|e| {
        // The bitmap said free, but the inode is in use.
        sb.corrupted(fmt!("inode {ino} is allocated twice: {}", e.to_errno()))
    })?;
    let result = new.crypt_context().and_then(|context| {
        let new = fill_new(new, dir, birth.kind)?;
        // The last that can fail but for the journal: it may take a block.
        let space = attributes(&new, context.as_ref())?;
        let how = Stored {
            fresh: true,
            space: space.as_deref(),
            extra: None,
        };
        store_inode(handle, &new, how).map(|()| new)
    });
    if result.is_err() {
        // No memory, no journal, or a table block that cannot be read; the number is given back in
        // the same transaction, so it was never taken.
        let _ = alloc::free_inode(handle, sb, ino, mode);
    }
    result
}

/// Sets up a new inode that has its number. Not part of its caller's frame, below which trees are
/// changed.
#[inline(never)]
fn fill_new<'a>(
    mut new: NewInode<'a, Rext4, Hashed>,
    dir: &Inode,
    kind: NewKind<'_>,
) -> Result<NewInode<'a, Rext4>> {
    let geo = &dir.fs().geo;
    let ino = new.ino();
    let encrypted = if new.has_crypt_key() {
        flags::ENCRYPT
    } else {
        0
    };
    let mut fields = disk::InodeFields {
        mode: new.mode(),
        generation: new.generation(),
        extra_isize: geo.want_extra_isize,
        flags: inherited(dir, new.mode()) | encrypted,
        ..disk::InodeFields::default()
    };
    let content = set_block(&new, &mut fields, kind)?;
    init_attributes(&mut new, &mut fields);
    if content.link.is_some() {
        new.set_size(fields.size);
    }
    let info = new.info();
    info.csum_seed
        .store(fields.csum_seed(geo, ino), ordering::Relaxed);
    info.flags.store(fields.flags, ordering::Relaxed);
    info.set_projid(inherited_project(dir));
    if content.link.is_none() {
        let kind = MapKind::of(fields.mode, fields.flags);
        info.extents.lock().init_root(kind);
    }
    if geo.inode_size > GOOD_OLD_SIZE as u16 {
        info.set_btime(fields.crtime);
    }
    *info.fields.lock() = fields;
    set_operations(new, content.link, content.rdev)
}

/// Whether a regular file is accessed directly from now on, as long as it is in memory.
fn is_direct(inode: &Inode) -> bool {
    let disk_flags = inode.info().flags();
    let wanted = match inode.fs().dax {
        Dax::Always => true,
        Dax::Inode => disk_flags & flags::DAX != 0,
        Dax::Never => false,
    };
    // In a block map nothing is unwritten: a block that is stored to without a write could not be
    // told from one that holds what it held before.
    let able = disk_flags & flags::EXTENTS != 0 && disk_flags & flags::NOT_DAX == 0;
    wanted && able && inode.sb().can_dax()
}

/// Gives a new inode the operations of its type. `link`: the target of a short symbolic link.
/// `rdev`: of a device node.
pub(super) fn set_operations<'a>(
    new: NewInode<'a, Rext4, Hashed>,
    link: Option<&[u8]>,
    rdev: u32,
) -> Result<NewInode<'a, Rext4>> {
    match (new.mode() & S_IFMT, link) {
        (S_IFREG, _) if is_direct(&new) => new.dax(),
        (S_IFREG, _) => new.regular(),
        (S_IFDIR, _) => new.directory(),
        (S_IFLNK, _) if new.is_encrypted() => new.encrypted_symlink(),
        (S_IFLNK, Some(target)) => new.fast_symlink(target),
        (S_IFLNK, None) => new.symlink(),
        _ => new.special(rdev),
    }
}
