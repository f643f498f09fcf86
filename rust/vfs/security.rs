// SPDX-License-Identifier: GPL-2.0

//! What security modules want of a new inode: labels, as extended attributes.
//!
//! C header: [`include/linux/security.h`](srctree/include/linux/security.h)

use super::{
    bindings,
    inode::{Inode, NewInode, Ready},
    super_block::FileSystem,
    Dentry, //
};
use core::{ptr, slice};
use kernel::{
    error::{from_result, to_result},
    prelude::*,
    str::CStr, //
};

/// The name of a label behind `security.`, and its value.
type NameAndValue = (KVec<u8>, KVec<u8>);

/// # Safety
///
/// `array` ends with an entry without a name; names are strings, and each value has as many bytes
/// as its length says. `list` is a `KVec<NameAndValue>` that nobody else uses
/// (security_inode_init_security()).
unsafe extern "C" fn collect(
    _inode: *mut bindings::inode,
    array: *const bindings::xattr,
    list: *mut c_void,
) -> c_int {
    from_result(|| {
        // SAFETY: By the caller.
        let list = unsafe { &mut *list.cast::<KVec<NameAndValue>>() };
        let mut at = array;
        // SAFETY: By the caller; `at` goes on to the entry without a name and not beyond.
        while let Some(xattr) = unsafe { at.as_ref() }.filter(|xattr| !xattr.name.is_null()) {
            let mut label: NameAndValue = (KVec::new(), KVec::new());
            // SAFETY: By the caller.
            let name = unsafe { CStr::from_char_ptr(xattr.name) };
            label.0.extend_from_slice(name.to_bytes(), GFP_KERNEL)?;
            if xattr.value_len > 0 {
                // SAFETY: By the caller.
                let value =
                    unsafe { slice::from_raw_parts(xattr.value.cast::<u8>(), xattr.value_len) };
                label.1.extend_from_slice(value, GFP_KERNEL)?;
            }
            list.push(label, GFP_KERNEL)?;
            // SAFETY: As above.
            at = unsafe { at.add(1) };
        }
        Ok(0)
    })
}

impl<F: FileSystem> NewInode<'_, F, Ready> {
    /// The labels that the security modules give to this inode, made in `dir`, where it gets the
    /// name of `dentry` unless it gets none. It has its number, owner and mode.
    pub(crate) fn labels(
        &self,
        dir: &Inode<F>,
        dentry: Option<&Dentry<F>>,
    ) -> Result<KVec<NameAndValue>> {
        let mut list: KVec<NameAndValue> = KVec::new();
        let dentry = dentry.map_or(ptr::null_mut(), Dentry::as_ptr);
        // SAFETY: By the type invariants. The list is ours, of the type that `collect` asks for.
        to_result(unsafe {
            bindings::inode_init_security(
                self.as_ptr(),
                dir.as_ptr(),
                dentry,
                Some(collect),
                (&raw mut list).cast(),
            )
        })?;
        Ok(list)
    }
}
