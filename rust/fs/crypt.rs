// SPDX-License-Identifier: GPL-2.0

//! Encryption. What is encrypted, with which key and how is fs/crypto's to know
//! ([`vfs::fscrypt`](crate::vfs::fscrypt)); here is where its notes are kept, and who asks it for
//! what.
//!
//! An encrypted inode has a flag, and a *context* as an extended attribute that no program sees: a
//! policy, and a number that makes its key another one than that of all others. It gets both in the
//! handle that makes it; an empty directory can get them later. They stay.
//!
//! ```text
//!   names       a directory holds what they are encrypted to; its index hashes that
//!   targets     of symbolic links: in the inode or in the block, with a length before them
//!   content     of files; a file without a key cannot be opened. Rule 14 of the data path
//! ```
//!
//! Who sets up a key reads the context and takes memory: before the handle.
//!
//! Format: `Documentation/filesystems/fscrypt.rst`.

use super::{
    credits, inode,
    primary::{journal_super, read_super},
    xattr::{self, AttrEdit},
    Inode, Rext4, Sb,
};
use crate::{
    disk::{
        encrypted::CONTEXT, features::COMPAT_STABLE_INODES, inode::flags, xattr_edit::AttrChange,
        Ino,
    },
    vfs::{
        fscrypt::Context,
        inode::InodeLock,
        ioctl::Salt,
        xattr::{How, Value},
        File,
    },
};
use kernel::{error::code::*, prelude::*};

/// The attribute that keeps the context of a new inode.
pub(super) fn context_change(context: &Context) -> AttrChange<'_> {
    change_for(context.bytes())
}

fn change_for(context: &[u8]) -> AttrChange<'_> {
    let (name_index, name) = CONTEXT;
    AttrChange {
        name_index,
        name,
        value: Some(context),
    }
}

/// Copies the context out.
pub(super) fn get_context(inode: &Inode, out: &mut Value<'_>) -> Result {
    xattr::read(inode, CONTEXT, |value| out.put(value))?.ok_or(ENODATA)
}

/// Encrypts an empty directory. `EPERM` for the root: e2fsck wants to find lost+found there.
/// `EOPNOTSUPP` for one that hands direct access on.
pub(super) fn set_context(lock: &InodeLock<'_, Rext4>, context: &[u8]) -> Result {
    let inode = lock.inode();
    let info = inode.info();
    if inode.ino() == Ino::ROOT {
        return Err(EPERM);
    }
    if info.flags() & flags::DAX != 0 {
        return Err(EOPNOTSUPP);
    }
    let edit = AttrEdit {
        change: change_for(context),
        how: How::Any,
        always: false,
    };
    // With the attribute in one handle.
    xattr::update(inode, &edit, || info.set_flags(flags::ENCRYPT, true))?;
    lock.set_flags(inode::vfs_flags(info.flags()));
    Ok(())
}

/// Whether inode numbers and the UUID never change (tune2fs).
pub(super) fn has_stable_inodes(sb: &Sb) -> bool {
    sb.data().geo.features.has_compat(COMPAT_STABLE_INODES)
}

/// The bytes for keys made of passphrases.
pub(super) fn key_salt(sb: &Sb) -> Result<Salt> {
    read_super(sb.data(), |raw| raw.encrypt_pw_salt)
}

/// Keeps new ones, unless somebody was faster.
pub(super) fn make_key_salt(file: &File<Rext4>, new: &Salt) -> Result<Salt> {
    let fs = file.inode().fs();
    let handle = fs.start(credits::SUPER)?;
    let mut salt = *new;
    journal_super(&handle, fs, |raw| {
        if raw.encrypt_pw_salt == Salt::default() {
            raw.encrypt_pw_salt = salt;
        }
        salt = raw.encrypt_pw_salt;
    })?;
    handle.stop()?;
    Ok(salt)
}
