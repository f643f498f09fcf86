// SPDX-License-Identifier: GPL-2.0
//! Growing as an old resize2fs did it: the last group, then group by group.

use crate::cases::space::resize::{blocks, field, root, VARS};
use crate::fixture::{pattern, put, run_cmd, T};
use crate::harness::{Case, Res, EXT3_1K, K4, NOCSUM1K};
use crate::sys::{self, Fd, Sys};
use crate::{errno, same};

pub const CASES: &[Case] = &[
    Case::new("resize/last_group", VARS, last_group),
    Case::new(
        "resize/group_by_group",
        &[NOCSUM1K, EXT3_1K, K4],
        group_by_group,
    ),
];

const GROUP_EXTEND: u64 = 0x4008_6607;
const GROUP_ADD: u64 = 0x4028_6608;

fn extend(f: &Fd, blocks: u64) -> Sys<()> {
    let mut blocks = [blocks as u32, 0];
    // SAFETY: It reads 4 bytes.
    unsafe { f.ioctl(GROUP_EXTEND, &mut blocks) }.map(|_| ())
}

/// EXT4_IOC_GROUP_EXTEND: to the end of the last group and no further.
fn last_group(t: &mut T) -> Res {
    t.fresh_mb(61)?;
    let (dir, bs) = (root(t)?, t.bs());
    let before = sys::statfs(&t.p(""))?;
    extend(&dir, (62 << 20) / bs)?;
    let after = sys::statfs(&t.p(""))?;
    let more = (1 << 20) / bs;
    same!(after.f_blocks - before.f_blocks, more, "blocks");
    same!(after.f_bfree - before.f_bfree, more, "free blocks");
    same!(after.f_files, before.f_files, "inodes");
    extend(&dir, (62 << 20) / bs)?;
    errno!(extend(&dir, (60 << 20) / bs), EINVAL);
    // Not beyond the end of the group.
    extend(&dir, (1 << 30) / bs)?;
    let group: u64 = field(&t.dev, "Blocks per group")?.parse().unwrap_or(1);
    let first: u64 = field(&t.dev, "First block")?.parse().unwrap_or(1);
    same!((blocks(t)? - first) % group, 0, "the last group is full");
    errno!(extend(&dir, (1 << 30) / bs), EPERM);
    put(&t.p("f"), 3, 40 << 20)?.fsync()?;
    drop(dir);
    t.cycle()?;
    t.file_holds("f", &pattern(3, 0, 40 << 20), "after it grew")?;
    t.umount()?;
    t.fsck()
}

/// `struct ext4_new_group_input`.
#[repr(C)]
#[derive(Clone, Copy)]
struct NewGroup {
    group: u32,
    pad: u32,
    block_bitmap: u64,
    inode_bitmap: u64,
    inode_table: u64,
    blocks: u32,
    reserved: u16,
    unused: u16,
}

fn add(f: &Fd, mut new: NewGroup) -> Sys<()> {
    // SAFETY: It reads as many bytes.
    unsafe { f.ioctl(GROUP_ADD, &mut new) }.map(|_| ())
}

/// An image of whole groups; how many, and the blocks of each.
fn whole_groups(t: &mut T) -> Res<(u64, u64)> {
    let (groups, group, first) = match t.bs() {
        1024 => (4, 8192, 1),
        _ => (1, 32768, 0),
    };
    let (bs, size) = (t.bs().to_string(), (first + groups * group).to_string());
    let mut args = vec!["-q", "-F", "-t", "ext4", "-b", &bs, "-I", "256"];
    if !t.var.feats.is_empty() {
        args.extend(["-O", t.var.feats]);
    }
    let dev = t.dev.clone();
    args.extend([&dev[..], &size[..]]);
    let (code, text) = run_cmd("mke2fs", &args)?;
    same!(code, 0, "mke2fs: {text}");
    Ok((groups, group))
}

/// The same with something wrong.
fn wrong(new: NewGroup, start: u64, table: u64) -> Vec<NewGroup> {
    let end = start + u64::from(new.blocks);
    let mut all = vec![new; 7];
    all[0].group += 1;
    all[1].inode_bitmap = new.block_bitmap;
    all[2].inode_bitmap = new.inode_table + 1;
    all[3].block_bitmap = start - 1;
    all[4].inode_table = end - 1;
    all[5].inode_table = end - table + 1;
    all[6].reserved = u16::MAX;
    all
}

/// EXT4_IOC_GROUP_ADD, as an old resize2fs calls it.
fn group_by_group(t: &mut T) -> Res {
    let (groups, group) = whole_groups(t)?;
    t.mount("")?;
    let table: u64 = field(&t.dev, "Inode blocks per group")?
        .parse()
        .unwrap_or(0);
    let dir = root(t)?;
    for n in groups..groups + 4 {
        let start = u64::from(t.bs() == 1024) + n * group;
        // Behind any copies.
        let at = start + 300;
        let new = NewGroup {
            group: n as u32,
            pad: 0,
            block_bitmap: at,
            inode_bitmap: at + 1,
            inode_table: at + 2,
            blocks: group as u32,
            reserved: 5,
            unused: 0,
        };
        for wrong in wrong(new, start, table) {
            errno!(add(&dir, wrong), EINVAL);
        }
        add(&dir, new)?;
        same!(blocks(t)?, start + group, "blocks");
        put(&t.p(&format!("f{n}")), n, 5 << 20)?;
    }
    drop(dir);
    t.cycle()?;
    for n in groups..groups + 4 {
        t.file_holds(
            &format!("f{n}"),
            &pattern(n, 0, 5 << 20),
            "beside new groups",
        )?;
    }
    t.umount()?;
    t.fsck()
}
