// SPDX-License-Identifier: GPL-2.0

//! Encryption, as far as it is decided at mount.

use super::refuse::refuse;
use crate::{
    disk::{features::INCOMPAT_ENCRYPT, superblock::Geometry},
    fs::{options::Options, Rext4, Sb},
    vfs::{
        fscrypt::{self, DummyPolicy},
        super_block::{NewSuper, Remount}, //
    },
};
use kernel::{error::code::*, prelude::*};

/// Lets inodes be encrypted, where the file system has that.
pub(super) fn set_up(sb: &NewSuper<'_, Rext4>, geo: &Geometry, opts: &Options) -> Result {
    let fail = |why: &str| refuse(sb.id(), sb.log(), fmt!("{}", why), EINVAL);
    if !geo.features.has_incompat(INCOMPAT_ENCRYPT) {
        return match opts.dummy {
            Some(_) => Err(fail("test_dummy_encryption: without the feature encrypt")),
            None => Ok(()),
        };
    }
    if !fscrypt::AVAILABLE {
        return Err(fail("feature encrypt: the kernel has no encryption"));
    }
    sb.set_crypt_by_device(opts.inlinecrypt);
    sb.set_crypt()
}

/// Makes the policy that the option `test_dummy_encryption` asks for. Before anything is made.
pub(super) fn begin_dummy(sb: &Sb) -> Result {
    let fs = sb.data();
    let version = fs.options.lock().dummy;
    if let Some(version) = version {
        let id = sb.id();
        pr_warn!("{id}: what is made is encrypted with a key that all know\n");
        fs.dummy_policy.populate(DummyPolicy::new(version)?);
    }
    Ok(())
}

/// Whether a remount leaves what is decided at mount as it is.
pub(super) fn check_dummy_kept(remount: &Remount<'_, Rext4>, opts: &Options) -> Result {
    let sb = remount.sb();
    if opts.dummy == sb.data().options.lock().dummy {
        return Ok(());
    }
    let why = fmt!("test_dummy_encryption cannot be changed by a remount");
    Err(refuse(sb.id(), remount.log(), why, EINVAL))
}
