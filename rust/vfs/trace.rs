// SPDX-License-Identifier: GPL-2.0

//! Trace events: how one is told. Which events there are is the file system's business, which
//! defines them in a C header of its own (`DECLARE_EVENT_CLASS`) and tells them by [`fire`].
//!
//! They are in every build, so an event that is off must cost next to nothing: with
//! CONFIG_JUMP_LABEL a `nop`, else a load and a branch that is not taken.
//!
//! `kernel::tracepoint::declare_trace` does not serve: it looks for the tracepoints in the kernel
//! crate's own bindings, where those of a module cannot be. And without CONFIG_JUMP_LABEL its
//! `static_branch_unlikely` is a call into C for every event that is passed.
//!
//! C header: [`include/linux/tracepoint.h`](srctree/include/linux/tracepoint.h)

use super::{bindings, inode::Inode, iomap::Map, super_block::FileSystem};
use kernel::{prelude::*, str::CStr};

/// What bindgen's declarations of events name.
#[allow(non_camel_case_types, reason = "the names are C's")]
pub(crate) mod raw {
    use super::bindings;

    pub(crate) type inode = bindings::inode;
    pub(crate) type iomap = bindings::iomap;
    pub(crate) type tracepoint = bindings::tracepoint;
    pub(crate) type bool_ = bool;
    pub(crate) type u32_ = u32;
    pub(crate) type u64_ = u64;
}

/// What events can be told of.
///
/// # Safety
///
/// [`Argument::raw`] is valid as an argument of its C type as long as `self` exists.
pub(crate) unsafe trait Argument {
    /// Its type in C.
    type Raw;

    /// As C takes it.
    fn raw(self) -> Self::Raw;
}

macro_rules! plain_arguments {
    ($($t:ty),*) => {$(
        // SAFETY: A number.
        unsafe impl Argument for $t {
            type Raw = Self;

            #[inline(always)]
            fn raw(self) -> Self {
                self
            }
        }
    )*};
}

plain_arguments!(bool, i32, u32, u64);

// SAFETY: The pointer comes from a reference.
unsafe impl<F: FileSystem> Argument for &Inode<F> {
    type Raw = *mut bindings::inode;

    #[inline(always)]
    fn raw(self) -> Self::Raw {
        self.as_ptr()
    }
}

// SAFETY: As above.
unsafe impl Argument for &Map {
    type Raw = *const bindings::iomap;

    #[inline(always)]
    fn raw(self) -> Self::Raw {
        self.as_ptr()
    }
}

// SAFETY: As above, and NUL-terminated.
unsafe impl Argument for &CStr {
    type Raw = *const c_char;

    #[inline(always)]
    fn raw(self) -> Self::Raw {
        self.as_char_ptr()
    }
}

/// Tells the compiler that the branch it stands in is not taken, so that the code for an event
/// does not lie in the path that has it off.
#[cold]
pub(crate) fn cold() {}

/// Whether somebody has switched the tracepoint on.
#[cfg(all(CONFIG_TRACEPOINTS, CONFIG_JUMP_LABEL))]
macro_rules! is_on {
    ($tracepoint:path) => {
        // SAFETY: The key of a tracepoint, which `DEFINE_TRACE` has made.
        unsafe {
            ::kernel::jump_label::static_branch_unlikely!(
                $tracepoint,
                $crate::vfs::trace::raw::tracepoint,
                key
            )
        }
    };
}

/// Whether somebody has switched the tracepoint on.
#[cfg(all(CONFIG_TRACEPOINTS, not(CONFIG_JUMP_LABEL)))]
macro_rules! is_on {
    ($tracepoint:path) => {{
        // SAFETY: A static of this module. `enabled` is an `int` that C changes atomically at any
        // time; one volatile read is what `static_key_count` does (jump_label.h).
        let users = unsafe { (&raw const $tracepoint.key.key.enabled.counter).read_volatile() };
        users != 0
    }};
}

/// A field of an event that is written like a field of a structure.
macro_rules! value {
    ($field:ident) => {
        $field
    };
    ($field:ident: $value:expr) => {
        $value
    };
}

/// `fire!(bindings, name(field, field: value, ...))`: the event `name`, if somebody has switched it
/// on. The values are looked at only then; each is an [`Argument`], in the order of the event's
/// `TP_PROTO`.
///
/// `bindings` is a module with what bindgen has made of the header, so the compiler compares types.
#[cfg(CONFIG_TRACEPOINTS)]
macro_rules! fire {
    ($bindings:ident, $name:ident($($field:ident $(: $value:expr)?),* $(,)?)) => {
        ::kernel::macros::paste! {
            if $crate::vfs::trace::is_on!($bindings::[<__tracepoint_ $name>]) {
                $crate::vfs::trace::cold();
                let ($($field,)*) = ($($crate::vfs::trace::Argument::raw(
                    $crate::vfs::trace::value!($field $(: $value)?)
                ),)*);
                // SAFETY: Tracepoints may be called in any context. The values are valid during
                // the call (see `Argument`), and TP_fast_assign copies them.
                unsafe { $bindings::[<rust_do_trace_ $name>]($($field),*) };
            }
        }
    };
}

/// A kernel without tracepoints: nothing, but the values are used.
#[cfg(not(CONFIG_TRACEPOINTS))]
macro_rules! fire {
    ($bindings:ident, $name:ident($($field:ident $(: $value:expr)?),* $(,)?)) => {
        $( let _ = || $crate::vfs::trace::value!($field $(: $value)?); )*
    };
}

#[cfg(CONFIG_TRACEPOINTS)]
pub(crate) use is_on;
pub(crate) use {fire, value};
