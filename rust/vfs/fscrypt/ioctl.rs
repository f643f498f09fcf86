// SPDX-License-Identifier: GPL-2.0

//! What programs ask for by `ioctl(2)`: policies and keys. What is allowed is fs/crypto's to say.
//!
//! C headers: [`include/uapi/linux/fscrypt.h`](srctree/include/uapi/linux/fscrypt.h)

use crate::vfs::{bindings, file::File, super_block::FileSystem};
use kernel::{error::to_result, prelude::*};

type Ioctl = unsafe extern "C" fn(*mut bindings::file, *mut c_void) -> c_int;

/// Answers, if it is one of these. `None` if not; `EOPNOTSUPP` where nothing can be encrypted.
pub(in crate::vfs) fn ioctl<F: FileSystem>(
    file: &File<F>,
    cmd: c_uint,
    arg: c_ulong,
) -> Option<Result> {
    let asked: Ioctl = match cmd {
        bindings::FS_IOC_SET_ENCRYPTION_POLICY => bindings::fscrypt_ioctl_set_policy,
        bindings::FS_IOC_GET_ENCRYPTION_POLICY => bindings::fscrypt_ioctl_get_policy,
        bindings::FS_IOC_GET_ENCRYPTION_POLICY_EX => bindings::fscrypt_ioctl_get_policy_ex,
        bindings::FS_IOC_ADD_ENCRYPTION_KEY => bindings::fscrypt_ioctl_add_key,
        bindings::FS_IOC_REMOVE_ENCRYPTION_KEY => bindings::fscrypt_ioctl_remove_key,
        bindings::FS_IOC_REMOVE_ENCRYPTION_KEY_ALL_USERS => {
            bindings::fscrypt_ioctl_remove_key_all_users
        }
        bindings::FS_IOC_GET_ENCRYPTION_KEY_STATUS => bindings::fscrypt_ioctl_get_key_status,
        bindings::FS_IOC_GET_ENCRYPTION_NONCE => bindings::fscrypt_ioctl_get_nonce,
        _ => return None,
    };
    if !file.inode().sb().has_crypt() {
        return Some(Err(EOPNOTSUPP));
    }
    // SAFETY: By the type invariant of `File`, of a super block with operations. The argument is
    // an address of the program's, which the function takes as such.
    Some(to_result(unsafe {
        asked(file.as_ptr(), arg as *mut c_void)
    }))
}
