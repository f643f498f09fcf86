// SPDX-License-Identifier: GPL-2.0
//! An inode is published when it has its number and its operations, and keeps its type then.
#![forbid(unsafe_code)]

use crate::vfs::{
    inode::{Hashed, InodeOps, InodeRef, NewInode},
    super_block::FileSystem,
    Dentry, InLookup, Inode, SuperBlock,
};
use kernel::prelude::*;

fn make<'a, F: InodeOps>(dir: &'a Inode<F>, dentry: &Dentry<F>) -> Result {
    let mut new = dir.sb().new_inode()?;
    new.set_mode(0o010644);
    new.insert(12, 1)?.special(0)?.instantiate(dentry);
    Ok(())
}

#[cfg(misuse = "without_number")]
fn without_number<F: InodeOps>(sb: &SuperBlock<F>) -> Result {
    sb.new_inode()?.special(0)?; //~ E0599
    Ok(())
}

#[cfg(misuse = "without_operations")]
fn without_operations<F: FileSystem>(sb: &SuperBlock<F>) -> Result {
    sb.new_inode()?.insert(12, 1)?.publish(); //~ E0599
    Ok(())
}

#[cfg(misuse = "discarded_unseen")]
fn discarded_unseen<F: FileSystem>(sb: &SuperBlock<F>) -> Result {
    sb.new_inode()?.discard(); //~ E0599
    Ok(())
}

#[cfg(misuse = "inserted_twice")]
fn inserted_twice<F: FileSystem>(sb: &SuperBlock<F>) -> Result {
    sb.new_inode()?.insert(12, 1)?.insert(13, 1)?; //~ E0599
    Ok(())
}

#[cfg(misuse = "other_type")]
fn other_type<F: FileSystem>(mut new: NewInode<'_, F>) {
    new.set_mode(0o120777); //~ E0599
}

/// A file system that has no directories cannot make one.
#[cfg(misuse = "type_it_has_not")]
fn type_it_has_not<F: InodeOps>(new: NewInode<'_, F, Hashed>) {
    let _ = new.directory(); //~ E0277
}

/// What a lookup finds it returns: the links of an inode's names may not be the dentry's yet.
#[cfg(misuse = "new_in_lookup")]
fn new_in_lookup<F: InodeOps>(new: NewInode<'_, F>, dentry: &InLookup<F>) {
    new.instantiate(dentry); //~ E0308
}

#[cfg(misuse = "in_lookup")]
fn in_lookup<F: InodeOps>(inode: InodeRef<'_, F>, dentry: &InLookup<F>) {
    dentry.instantiate(inode); //~ E0599
}
