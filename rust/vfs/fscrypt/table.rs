// SPDX-License-Identifier: GPL-2.0

//! What fs/crypto calls.
//!
//! C header: [`include/linux/fscrypt.h`](srctree/include/linux/fscrypt.h)

use super::{Context, CryptOps};
use crate::vfs::{
    bindings,
    inode::{crypt_offset, Inode, InodeLock},
    super_block::SuperBlock,
    xattr::Value, //
};
use core::{marker::PhantomData, mem, ops::Deref, ptr, slice};
use kernel::{error::from_result, prelude::*};

/// `is_block_based`: the block layer encrypts what files hold. (C: the first bit of the fields.)
const IS_BLOCK_BASED: u8 = 1 << 0;
/// `has_32bit_inodes`. (C: the third one.)
const HAS_32BIT_INODES: u8 = 1 << 2;
/// `supports_subblock_data_units`: what it encrypts may be smaller than a block. (C: the fourth.)
const SUPPORTS_SMALL_UNITS: u8 = 1 << 3;

pub(super) struct CryptTable<F>(PhantomData<F>);

impl<F: CryptOps> CryptTable<F> {
    pub(super) const TABLE: bindings::fscrypt_operations = bindings::fscrypt_operations {
        inode_info_offs: crypt_offset::<F>(),
        _bitfield_1: bindings::__BindgenBitfieldUnit::new([IS_BLOCK_BASED
            | HAS_32BIT_INODES
            | SUPPORTS_SMALL_UNITS]),
        legacy_key_prefix: F::KEY_PREFIX.to_bytes_with_nul().as_ptr().cast(),
        get_context: Some(Self::get_context),
        set_context: Some(Self::set_context),
        get_dummy_policy: Some(Self::get_dummy_policy),
        empty_dir: Some(Self::empty_dir),
        has_stable_inodes: Some(Self::has_stable_inodes),
        // SAFETY: All other members are nullable pointers and padding.
        ..unsafe { mem::zeroed() }
    };

    /// # Safety
    ///
    /// `inode` is one of `F`, and the caller holds it; `context` is to `len` bytes of this
    /// thread's.
    unsafe extern "C" fn get_context(
        inode: *mut bindings::inode,
        context: *mut c_void,
        len: usize,
    ) -> c_int {
        from_result(|| {
            // SAFETY: By the caller.
            let (inode, mut out) =
                unsafe { (Inode::from_raw(inode), Value::from_raw(context.cast(), len)) };
            F::get_context(inode, &mut out)?;
            c_int::try_from(out.put_len()).map_err(|_| E2BIG)
        })
    }

    /// # Safety
    ///
    /// `inode` is one of `F`, and the caller holds it; `context` is `len` bytes. `to` is the
    /// [`Context`] of `NewInode::crypt_context`, or null, and then i_rwsem of the inode is held
    /// exclusive.
    unsafe extern "C" fn set_context(
        inode: *mut bindings::inode,
        context: *const c_void,
        len: usize,
        to: *mut c_void,
    ) -> c_int {
        from_result(|| {
            // SAFETY: By the caller.
            let context = unsafe { slice::from_raw_parts(context.cast::<u8>(), len) };
            // SAFETY: By the caller.
            if let Some(to) = unsafe { to.cast::<Context>().as_mut() } {
                let bytes = to.bytes.get_mut(..len).ok_or(ERANGE)?;
                bytes.copy_from_slice(context);
                to.len = len;
                return Ok(0);
            }
            // SAFETY: By the caller.
            let lock = unsafe { InodeLock::assume(Inode::<F>::from_raw(inode)) };
            F::set_context(lock.deref(), context).map(|()| 0)
        })
    }

    /// # Safety
    ///
    /// `sb` is a super block of `F` whose data is attached.
    unsafe extern "C" fn get_dummy_policy(
        sb: *mut bindings::super_block,
    ) -> *const bindings::fscrypt_policy {
        // SAFETY: By the caller. The policy lives as long as the data.
        let policy = F::dummy_policy(unsafe { SuperBlock::from_raw(sb) });
        policy.map_or(ptr::null(), |policy| policy.as_ptr().cast())
    }

    /// # Safety
    ///
    /// `dir` is a directory of `F`, and the caller holds it; its i_rwsem is held exclusive.
    unsafe extern "C" fn empty_dir(dir: *mut bindings::inode) -> bool {
        // SAFETY: By the caller.
        F::is_empty_dir(unsafe { Inode::from_raw(dir) })
    }

    /// # Safety
    ///
    /// As for [`Self::get_dummy_policy`].
    unsafe extern "C" fn has_stable_inodes(sb: *mut bindings::super_block) -> bool {
        // SAFETY: By the caller.
        F::has_stable_inodes(unsafe { SuperBlock::from_raw(sb) })
    }
}
