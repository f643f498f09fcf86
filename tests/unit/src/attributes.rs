// SPDX-License-Identifier: GPL-2.0

//! Extended attributes as users see them, of all prefixes.

use crate::disk::inode::GOOD_OLD_SIZE;
use crate::disk::xattr::{XattrEntries, MAGIC};
use crate::disk::{Geometry, InodeFields, Result};

/// The part of an attribute's full name that its index stands for.
pub fn prefix(name_index: u8) -> Option<&'static str> {
    match name_index {
        1 => Some("user."),
        2 => Some("system.posix_acl_access"),
        3 => Some("system.posix_acl_default"),
        4 => Some("trusted."),
        6 => Some("security."),
        7 => Some("system."),
        8 => Some("system.richacl"),
        _ => None,
    }
}

/// The attributes in a raw inode, `None` when there are none; value offsets count from the first
/// entry.
pub fn inode_entries<'a>(
    raw: &'a [u8],
    geo: &Geometry,
    inode: &InodeFields,
) -> Result<Option<XattrEntries<'a>>> {
    let start = GOOD_OLD_SIZE + usize::from(inode.extra_isize);
    let space = raw.get(start..usize::from(geo.inode_size)).unwrap_or(&[]);
    let list = space.strip_prefix(&MAGIC.to_le_bytes());
    let Some(list) = list.filter(|list| inode.extra_isize != 0 && list.len() >= 4) else {
        return Ok(None);
    };
    let entries = XattrEntries::new(list, 0);
    entries.check()?;
    Ok(Some(entries))
}
