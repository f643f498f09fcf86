// SPDX-License-Identifier: GPL-2.0
//! Names, directories, attributes of inodes, mounts.

pub mod acl;
pub mod attr;
pub mod chattr;
pub mod crypt;
pub mod crypt_bad;
pub mod crypt_names;
pub mod dirs;
pub mod dirs_hash;
pub mod dirs_large;
pub mod generation;
pub mod handles;
pub mod mounts;
pub mod names;
pub mod nfs;
pub mod project;
pub mod rename;
pub mod tree;
pub mod version;
pub mod whiteout;
pub mod xattr;
pub mod xattr_shared;
