// SPDX-License-Identifier: GPL-2.0
//! The flags of chattr(1), by each of the ways to them.

use crate::sys::{c_string, checked, Fd, Sys};

pub const SYNC: u32 = 0x8;
pub const IMMUTABLE: u32 = 0x10;
pub const APPEND: u32 = 0x20;
pub const NODUMP: u32 = 0x40;
pub const NOATIME: u32 = 0x80;
pub const INDEX: u32 = 0x1000;
pub const DIRSYNC: u32 = 0x1_0000;
pub const EXTENTS: u32 = 0x8_0000;
pub const DAX: u32 = 0x200_0000;
pub const PROJINHERIT: u32 = 0x2000_0000;

/// `struct fsxattr`; the first part of `struct file_attr` says the same in other types.
#[repr(C)]
#[derive(Clone, Copy, Default, Debug, PartialEq, Eq)]
pub struct FsXattr {
    pub xflags: u32,
    pub extsize: u32,
    pub nextents: u32,
    pub projid: u32,
    pub cowextsize: u32,
    pub pad: [u8; 8],
}

/// `struct file_attr`.
#[repr(C)]
#[derive(Clone, Copy, Default, Debug, PartialEq, Eq)]
pub struct FileAttr {
    pub xflags: u64,
    pub extsize: u32,
    pub nextents: u32,
    pub projid: u32,
    pub cowextsize: u32,
}

const SYS_FILE_GETATTR: i64 = 468;
const SYS_FILE_SETATTR: i64 = 469;

impl Fd {
    /// FS_IOC_GETFLAGS.
    pub fn flags(&self) -> Sys<u32> {
        let mut flags = 0u64;
        // SAFETY: It writes an int, in the space of a long.
        unsafe { self.ioctl(0x8008_6601, &mut flags)? };
        Ok(flags as u32)
    }

    /// FS_IOC_SETFLAGS.
    pub fn set_flags(&self, flags: u32) -> Sys<()> {
        let mut flags = u64::from(flags);
        // SAFETY: It reads an int.
        unsafe { self.ioctl(0x4008_6602, &mut flags) }.map(|_| ())
    }

    /// FS_IOC_FSGETXATTR.
    pub fn fsxattr(&self) -> Sys<FsXattr> {
        let mut attr = FsXattr::default();
        // SAFETY: It writes 28 bytes.
        unsafe { self.ioctl(0x801c_581f, &mut attr)? };
        Ok(attr)
    }

    /// FS_IOC_FSSETXATTR.
    pub fn set_fsxattr(&self, attr: &FsXattr) -> Sys<()> {
        let mut attr = *attr;
        // SAFETY: It reads 28 bytes.
        unsafe { self.ioctl(0x401c_5820, &mut attr) }.map(|_| ())
    }
}

fn call(nr: i64, path: &str, attr: &mut FileAttr) -> Sys<()> {
    let (p, size) = (c_string(path), std::mem::size_of::<FileAttr>());
    let how = libc::AT_SYMLINK_NOFOLLOW;
    // SAFETY: A NUL-terminated path, and a structure of the size that is said.
    let r = unsafe { libc::syscall(nr, libc::AT_FDCWD, p.as_ptr(), attr, size, how) };
    checked(r, || format!("file attributes of {path}, call {nr}")).map(|_| ())
}

/// file_getattr(2), not through a symbolic link.
pub fn file_getattr(path: &str) -> Sys<FileAttr> {
    let mut attr = FileAttr::default();
    call(SYS_FILE_GETATTR, path, &mut attr)?;
    Ok(attr)
}

/// file_setattr(2), not through a symbolic link.
pub fn file_setattr(path: &str, attr: &FileAttr) -> Sys<()> {
    call(SYS_FILE_SETATTR, path, &mut attr.clone())
}
