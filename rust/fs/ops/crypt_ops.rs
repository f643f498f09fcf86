// SPDX-License-Identifier: GPL-2.0

//! What fs/crypto asks for, forwarded.

use crate::{
    fs::{crypt, namei, Inode, Rext4, Sb},
    vfs::{
        fscrypt::{CryptOps, DummyPolicy},
        inode::InodeLock,
        xattr::Value, //
    },
};
use kernel::{prelude::*, str::CStr};

impl CryptOps for Rext4 {
    const KEY_PREFIX: &'static CStr = c"ext4:";

    fn get_context(inode: &Inode, out: &mut Value<'_>) -> Result {
        crypt::get_context(inode, out)
    }

    fn set_context(lock: &InodeLock<'_, Self>, context: &[u8]) -> Result {
        crypt::set_context(lock, context)
    }

    fn is_empty_dir(dir: &Inode) -> bool {
        // What cannot be read may have some.
        namei::is_empty(dir).unwrap_or(false)
    }

    fn has_stable_inodes(sb: &Sb) -> bool {
        crypt::has_stable_inodes(sb)
    }

    fn dummy_policy(sb: &Sb) -> Option<&DummyPolicy> {
        sb.data().dummy_policy.as_ref()
    }
}
