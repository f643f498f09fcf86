// SPDX-License-Identifier: GPL-2.0
//! C copies as much to the program as a value is said to have: only what was put there counts.
#![forbid(unsafe_code)]

use crate::vfs::xattr::Value;
use kernel::prelude::*;

fn get_xattr(out: &mut Value<'_>) -> Result {
    out.put(b"value")
}

#[cfg(misuse = "length_of_its_own")]
fn length_of_its_own(out: &mut Value<'_>) -> Result<usize> {
    out.put(b"value")?;
    let len: usize = out.put(b"value")?; //~ E0308
    Ok(len * 1000)
}

#[cfg(misuse = "made_up")]
fn made_up(out: &mut Value<'_>) {
    out.put = 1000; //~ E0616
}
