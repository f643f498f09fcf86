// SPDX-License-Identifier: GPL-2.0

//! The raw C interface: the kernel crate's bindings, and beside them those of the headers it
//! does not read. A type known to both comes from the kernel crate, so that it is one type.

#![allow(
    clippy::all,
    clippy::undocumented_unsafe_blocks,
    clippy::ptr_as_ptr,
    clippy::ref_as_ptr,
    clippy::cast_lossless,
    dead_code,
    missing_docs,
    non_camel_case_types,
    non_snake_case,
    non_upper_case_globals,
    unreachable_pub,
    unused_imports,
    unsafe_op_in_unsafe_fn,
    improper_ctypes,
    unknown_lints, // rustc 1.85 does not know the next one
    unnecessary_transmutes
)]

pub(super) use kernel::bindings::*;
use kernel::ffi;

include!(env!("VFS_BINDINGS"));
