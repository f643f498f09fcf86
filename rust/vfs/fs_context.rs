// SPDX-License-Identifier: GPL-2.0

//! Mounting and remounting: the fs_context operations.
//!
//! C headers: [`include/linux/fs_context.h`](srctree/include/linux/fs_context.h)

use super::{
    bindings,
    fixed,
    super_block::{fill_super_callback, FileSystem, SuperBlock}, //
};
use core::{cell::Cell, ffi::c_void, marker::PhantomData, mem, ptr};
use kernel::{
    error::{from_result, to_result},
    fmt,
    prelude::*,
    str::CStr, //
};

/// Where a mount or remount tells who asked for it why it is refused: the log of the context, which
/// mount(8) prints. Without one (mount(2), the kernel itself) nothing is written; the kernel log is
/// the caller's.
pub(crate) struct MountLog<'a> {
    fc: *mut bindings::fs_context,
    refused: Cell<bool>,
    _context: PhantomData<&'a ()>,
}

impl MountLog<'_> {
    /// # Safety
    ///
    /// `fc` is a context that this thread may use for `'a`.
    pub(super) unsafe fn from_raw(fc: *mut bindings::fs_context) -> Self {
        Self {
            fc,
            refused: Cell::new(false),
            _context: PhantomData,
        }
    }

    /// Why it fails. One line, without the device. Sleeps.
    pub(crate) fn error(&self, why: fmt::Arguments<'_>) {
        self.refused.set(true);
        self.put(b'e', why);
    }

    /// What will be otherwise than asked for. Sleeps.
    pub(crate) fn warning(&self, what: fmt::Arguments<'_>) {
        self.put(b'w', what);
    }

    /// Whether [`MountLog::error`] was called.
    pub(crate) fn has_error(&self) -> bool {
        self.refused.get()
    }

    fn put(&self, level: u8, text: fmt::Arguments<'_>) {
        let text: *const c_void = ptr::from_ref(&text).cast();
        // SAFETY: By `from_raw` the context is valid. The text is printed before the return, by
        // `%pA`, which takes a pointer to `fmt::Arguments`.
        unsafe { bindings::logfc(self.fc, level, text.cast()) }
    }
}

/// A remount under way. Whoever has one knows that s_umount is held exclusive.
pub(crate) struct Remount<'a, F> {
    sb: &'a SuperBlock<F>,
    fc: *mut bindings::fs_context,
    log: MountLog<'a>,
    read_only: bool,
}

impl<F: FileSystem> Remount<'_, F> {
    /// The mounted super block, as it is before.
    pub(crate) fn sb(&self) -> &SuperBlock<F> {
        self.sb
    }

    /// Whether it shall be read-only afterwards. The flag is the VFS's to set.
    pub(crate) fn read_only(&self) -> bool {
        self.read_only
    }

    /// Whether it will be so whatever we say, and with writers under way: an emergency remount.
    pub(crate) fn is_forced(&self) -> bool {
        // SAFETY: The context is ours during the remount.
        unsafe { (*self.fc).sb_flags & bindings::SB_FORCE != 0 }
    }

    /// Writes out all that is dirty and waits for it. Outside of any handle.
    pub(crate) fn sync(&self) -> Result {
        // SAFETY: The super block is mounted, and s_umount is held.
        to_result(unsafe { bindings::sync_filesystem(self.sb.as_ptr()) })
    }

    /// Where to say why it is refused.
    pub(crate) fn log(&self) -> &MountLog<'_> {
        &self.log
    }
}

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

    unsafe extern "C" fn free(fc: *mut bindings::fs_context) {
        // SAFETY: `init` stored a box; the context goes away.
        unsafe {
            let opts = mem::replace(&mut (*fc).fs_private, ptr::null_mut());
            if !opts.is_null() {
                drop(KBox::from_raw(opts.cast::<F::Options>()));
            }
        }
    }

    unsafe extern "C" fn parse_param(
        fc: *mut bindings::fs_context,
        param: *mut bindings::fs_parameter,
    ) -> c_int {
        // SAFETY: The VFS passes a valid parameter and, under the context's mutex, a context set
        // up by `init`, which `reconfigure` is the last to use.
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
            // SAFETY: The context is valid during the call.
            let log = unsafe { MountLog::from_raw(fc) };
            F::parse_option(opts, key, value, &log).map(|()| 0)
        })
    }

    unsafe extern "C" fn get_tree(fc: *mut bindings::fs_context) -> c_int {
        if F::FLAGS.read_only {
            // SAFETY: By the caller. The super block takes its flags from the context.
            unsafe { (*fc).sb_flags |= bindings::SB_RDONLY };
        }
        // SAFETY: By the caller; the callback has the type that C calls it with.
        unsafe { bindings::get_tree_bdev(fc, Some(fill_super_callback::<F>)) }
    }

    unsafe extern "C" fn stay_read_only(fc: *mut bindings::fs_context) -> c_int {
        // SAFETY: By the caller. Without the bit in the mask the flag would stay as it is, too.
        unsafe { (*fc).sb_flags |= bindings::SB_RDONLY };
        0
    }

    unsafe extern "C" fn reconfigure(fc: *mut bindings::fs_context) -> c_int {
        from_result(|| {
            // SAFETY: For a remount the root is set; the super block is locked (s_umount).
            let raw = unsafe { (*(*fc).root).d_sb };
            // SAFETY: The context is ours during the call.
            let opts = unsafe { mem::replace(&mut (*fc).fs_private, ptr::null_mut()) };
            if opts.is_null() {
                return Err(EINVAL);
            }
            // SAFETY: `init` stored the box, and it has just been taken out.
            let opts = unsafe { KBox::from_raw(opts.cast::<F::Options>()) };
            // SAFETY: The super block is mounted.
            let sb = unsafe { SuperBlock::<F>::from_raw(raw) };
            // SAFETY: The context is valid.
            let flags = unsafe {
                ((*raw).s_flags as u32 & !(*fc).sb_flags_mask)
                    | ((*fc).sb_flags & (*fc).sb_flags_mask)
            };
            let remount = Remount {
                sb,
                fc,
                // SAFETY: The context is ours during the call.
                log: unsafe { MountLog::from_raw(fc) },
                read_only: flags & bindings::SB_RDONLY != 0,
            };
            F::reconfigure(&remount, KBox::into_inner(opts))?;
            Ok(0)
        })
    }

    unsafe extern "C" fn init(fc: *mut bindings::fs_context) -> c_int {
        from_result(|| {
            // SAFETY: The context is valid.
            let root = unsafe { (*fc).root };
            let opts = if root.is_null() {
                F::Options::default()
            } else {
                // SAFETY: A context for a remount has the root of the mounted super block. It is in
                // use, so others change other fields of it: no reference to it is made.
                unsafe { SuperBlock::<F>::from_raw((*root).d_sb) }
                    .data()
                    .current_options()
            };
            let opts = KBox::new(opts, GFP_KERNEL)?;
            // SAFETY: The context is new and ours to fill.
            unsafe {
                (*fc).fs_private = KBox::into_raw(opts).cast();
                (*fc).ops = fixed(&Self::TABLE);
            }
            Ok(0)
        })
    }
}

type InitFn = unsafe extern "C" fn(*mut kernel::bindings::fs_context) -> c_int;

/// The `init_fs_context` of `F`. The kernel crate knows `fs_context` only as a name, so the
/// pointer's type differs from ours.
pub(super) fn init_callback_ptr<F: FileSystem>() -> Option<InitFn> {
    unsafe extern "C" fn init<F: FileSystem>(fc: *mut kernel::bindings::fs_context) -> c_int {
        // SAFETY: The same C type.
        unsafe { ContextTable::<F>::init(fc.cast()) }
    }
    Some(init::<F>)
}
