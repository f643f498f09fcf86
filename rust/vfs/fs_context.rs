// SPDX-License-Identifier: GPL-2.0

//! Mounting and remounting: the fs_context operations.
//!
//! An option goes to the file system as text, and there is no table of `struct fs_parameter_spec`:
//! what `fs_parse()` makes of one is a number and a union, and a match on the text says the same
//! with names and values that the compiler knows.
//!
//! C headers: [`include/linux/fs_context.h`](srctree/include/linux/fs_context.h)

mod log;

pub(crate) use log::MountLog;

use super::{
    bindings,
    fixed,
    super_block::{fill_super_callback, FileSystem, Remount, SuperBlock}, //
};
use core::{marker::PhantomData, mem, ptr};
use kernel::{error::from_result, prelude::*, str::CStr};

struct ContextTable<F>(PhantomData<F>);

impl<F: FileSystem> ContextTable<F> {
    const TABLE: bindings::fs_context_operations = bindings::fs_context_operations {
        free: Some(Self::free),
        parse_param: if F::HAS_PARSE_OPTION {
            Some(Self::parse_param)
        } else {
            None
        },
        get_tree: Some(Self::get_tree),
        reconfigure: if F::FLAGS.read_only {
            Some(Self::stay_read_only)
        } else if F::HAS_RECONFIGURE {
            Some(Self::reconfigure)
        } else {
            None
        },
        // SAFETY: All other members are nullable pointers.
        ..unsafe { mem::zeroed() }
    };

    /// # Safety
    ///
    /// [`Self::init`] has set `fc` up, and nobody uses it any more.
    unsafe extern "C" fn free(fc: *mut bindings::fs_context) {
        // SAFETY: By the caller; `init` stored a box.
        unsafe {
            let opts = mem::replace(&mut (*fc).fs_private, ptr::null_mut());
            if !opts.is_null() {
                drop(KBox::from_raw(opts.cast::<F::Options>()));
            }
        }
    }

    /// # Safety
    ///
    /// [`Self::init`] has set `fc` up, whose mutex is held. `param` is valid, and of the value only
    /// what its type says.
    unsafe extern "C" fn parse_param(
        fc: *mut bindings::fs_context,
        param: *mut bindings::fs_parameter,
    ) -> c_int {
        // SAFETY: By the caller. `reconfigure` is the last to use the options.
        let (param, opts) = unsafe { (&*param, (*fc).fs_private.cast::<F::Options>().as_mut()) };
        from_result(|| {
            let opts = opts.ok_or(EINVAL)?;
            // SAFETY: The key is NUL-terminated.
            let key = unsafe { CStr::from_char_ptr(param.key) }.to_bytes();
            let value = match param.type_() {
                bindings::fs_value_type_fs_value_is_flag => None,
                bindings::fs_value_type_fs_value_is_string => {
                    // SAFETY: By its type the value is a NUL-terminated string.
                    let text =
                        unsafe { CStr::from_char_ptr(*param.__bindgen_anon_1.string.as_ref()) };
                    Some(text.to_bytes())
                }
                // Blobs, paths and files are no values of ours, nor of `source`.
                _ => return Err(EINVAL),
            };
            // SAFETY: By the caller.
            let log = unsafe { MountLog::from_raw(fc) };
            F::parse_option(opts, key, value, &log).map(|()| 0)
        })
    }

    /// # Safety
    ///
    /// [`Self::init`] has set `fc` up for a mount, and it is this thread's.
    unsafe extern "C" fn get_tree(fc: *mut bindings::fs_context) -> c_int {
        if F::FLAGS.read_only {
            // SAFETY: By the caller. The super block takes its flags from the context.
            unsafe { (*fc).sb_flags |= bindings::SB_RDONLY };
        }
        // SAFETY: By the caller; the callback has the type that C calls it with.
        unsafe { bindings::get_tree_bdev(fc, Some(fill_super_callback::<F>)) }
    }

    /// # Safety
    ///
    /// As for [`Self::reconfigure`].
    unsafe extern "C" fn stay_read_only(fc: *mut bindings::fs_context) -> c_int {
        // SAFETY: By the caller. Without the bit in the mask the flag would stay as it is, too.
        unsafe { (*fc).sb_flags |= bindings::SB_RDONLY };
        0
    }

    /// # Safety
    ///
    /// [`Self::init`] has set `fc` up for a remount, and it is this thread's. `fc->root` is of a
    /// mounted super block of `F`, whose s_umount is held exclusive.
    unsafe extern "C" fn reconfigure(fc: *mut bindings::fs_context) -> c_int {
        from_result(|| {
            // SAFETY: By the caller.
            let raw = unsafe { (*(*fc).root).d_sb };
            // SAFETY: By the caller.
            let opts = unsafe { mem::replace(&mut (*fc).fs_private, ptr::null_mut()) };
            if opts.is_null() {
                return Err(EINVAL);
            }
            // SAFETY: `init` stored the box, and it has just been taken out.
            let opts = unsafe { KBox::from_raw(opts.cast::<F::Options>()) };
            // SAFETY: By the caller.
            let sb = unsafe { SuperBlock::<F>::from_raw(raw) };
            // SAFETY: By the caller.
            let flags = unsafe {
                ((*raw).s_flags as u32 & !(*fc).sb_flags_mask)
                    | ((*fc).sb_flags & (*fc).sb_flags_mask)
            };
            let read_only = flags & bindings::SB_RDONLY != 0;
            // SAFETY: By the caller.
            let remount = unsafe { Remount::new(sb, fc, read_only) };
            F::reconfigure(&remount, KBox::into_inner(opts))?;
            Ok(0)
        })
    }

    /// # Safety
    ///
    /// `fc` is a new context of the file system type `F`, and this thread's. For a remount
    /// `fc->root` is of a mounted super block of it.
    unsafe extern "C" fn init(fc: *mut bindings::fs_context) -> c_int {
        from_result(|| {
            // SAFETY: By the caller.
            let root = unsafe { (*fc).root };
            let opts = if root.is_null() {
                F::Options::default()
            } else {
                // SAFETY: By the caller. It is in use, so others change other fields of it: no
                // reference to it is made.
                unsafe { SuperBlock::<F>::from_raw((*root).d_sb) }
                    .data()
                    .current_options()
            };
            let opts = KBox::new(opts, GFP_KERNEL)?;
            // SAFETY: By the caller.
            unsafe {
                (*fc).fs_private = KBox::into_raw(opts).cast();
                (*fc).ops = fixed(&Self::TABLE);
                // In a remount, too: mount(2) brings flags for all that it may change.
                if F::FLAGS.change_counter {
                    (*fc).sb_flags |= bindings::SB_I_VERSION;
                }
            }
            Ok(0)
        })
    }
}

type InitFn = unsafe extern "C" fn(*mut kernel::bindings::fs_context) -> c_int;

/// The `init_fs_context` of `F`. The kernel crate knows `fs_context` only as a name, so the
/// pointer's type differs from ours.
pub(super) fn init_callback_ptr<F: FileSystem>() -> Option<InitFn> {
    /// # Safety
    ///
    /// `fc` is a new context of the file system type `F`, and this thread's. For a remount
    /// `fc->root` is of a mounted super block of it.
    unsafe extern "C" fn init<F: FileSystem>(fc: *mut kernel::bindings::fs_context) -> c_int {
        // SAFETY: The same C type.
        unsafe { ContextTable::<F>::init(fc.cast()) }
    }
    Some(init::<F>)
}
