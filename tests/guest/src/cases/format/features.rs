// SPDX-License-Identifier: GPL-2.0
//! What the superblock says of features, and what images without some of them hold.

use crate::cases::power::orphans::script;
use crate::fixture::{holds, names, pattern, put, T};
use crate::harness::{Case, Res, Variant, K1, K4, ONE};
use crate::sys;
use crate::{ensure, errno, fail, same};

const TWO: &[Variant] = &[K1, K4];

pub const CASES: &[Case] = &[
    Case::new("features/large_file", TWO, large_file).quick(),
    Case::new("features/hash_flag", ONE, hash_flag),
    Case::new("features/bigalloc_symlink", ONE, bigalloc_symlink),
    Case::new("features/own_inodes", ONE, own_inodes),
    Case::new("features/small_fields", TWO, small_fields).quick(),
];

const SUPER: u64 = 1024;

fn word(t: &T, off: u64) -> Res<u32> {
    let b = t.peek(SUPER + off, 4)?;
    Ok(u32::from_le_bytes(b.try_into().unwrap_or_default()))
}

/// The bit comes with the first file of 2 GiB, in the transaction that makes it one.
fn large_file(t: &mut T) -> Res {
    type Grow = fn(&sys::Fd) -> sys::Sys<()>;
    let ways: [(&str, Grow); 4] = [
        ("truncate", |f| f.truncate(1 << 31)),
        ("write", |f| f.pwrite(b"x", (1 << 31) - 1)),
        ("fallocate", |f| f.fallocate(0, 1 << 31, 1)),
        ("direct", |f| {
            f.pwrite(&sys::Aligned::of(&pattern(1, 0, 4096)), 1 << 31)
        }),
    ];
    for (what, grow) in ways {
        t.mkfs(64, &["-O", "^large_file,^resize_inode"])?;
        same!(word(t, 0x64)? & 2, 0, "large_file of a new image");
        t.mount("")?;
        let f = put(&t.p("f"), 1, 4096)?;
        f.truncate((1 << 31) - 1)?;
        drop(f);
        t.umount()?;
        same!(word(t, 0x64)? & 2, 0, "{what}: large_file below 2 GiB");
        t.mount("")?;
        let f = match what {
            "direct" => sys::direct(&t.p("f"))?,
            _ => sys::rdwr(&t.p("f"))?,
        };
        grow(&f)?;
        f.fsync()?;
        drop(f);
        t.umount()?;
        same!(word(t, 0x64)? & 2, 2, "{what}: large_file");
        t.fsck()?;
    }
    Ok(())
}

/// Who mounts an image that does not say how names are hashed says it: unsigned, as Linux does.
fn hash_flag(t: &mut T) -> Res {
    t.mkfs(64, &[])?;
    script(t, &["ssv flags 0".to_string()])?;
    same!(word(t, 0x160)? & 3, 0, "hash flags");
    t.try_mount(libc::MS_RDONLY, "")?;
    t.umount()?;
    same!(word(t, 0x160)? & 3, 0, "hash flags after a read-only mount");
    t.mount("")?;
    sys::mkdir(&t.p("d"), 0o755)?;
    // Bytes above 127 tell the two apart.
    let all: Vec<String> = (0..300).map(|i| format!("\u{e9}\u{f1}{i:0>60}")).collect();
    for name in &all {
        put(&t.p(&format!("d/{name}")), 1, 1)?;
    }
    t.umount()?;
    same!(word(t, 0x160)? & 3, 2, "hash flags after a writing mount");
    t.fsck()?;
    t.mount("")?;
    same!(names(&t.p("d"))?.len(), all.len(), "names");
    for name in &all {
        same!(sys::lstat(&t.p(&format!("d/{name}")))?.st_size, 1, "{name}");
    }
    Ok(())
}

/// With bigalloc the attributes of a short symlink take a cluster.
fn bigalloc_symlink(t: &mut T) -> Res {
    t.mkfs(64, &["-O", "bigalloc", "-C", "16384"])?;
    sys::write_file("/mnt/value", &"v".repeat(600))?;
    let cmds = [
        "symlink fast short",
        "ea_set -f /mnt/value fast trusted.big",
        "symlink slow ssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssss",
    ];
    script(t, &cmds.map(String::from))?;
    t.try_mount(libc::MS_RDONLY, "")?;
    same!(sys::readlink(&t.p("fast"))?, b"short", "short target");
    same!(sys::readlink(&t.p("slow"))?.len(), 68, "long target");
    Ok(())
}

const YEAR_2100: i64 = 4_102_444_800;

/// A file of `small_fields`: how many bytes its inode uses for fields behind the first 128, and the
/// value of an attribute that follows them.
struct Small {
    extra: usize,
    value: &'static str,
    len: usize,
}

impl Small {
    fn all() -> Vec<Small> {
        let values = [("none", 0), ("short", 20), ("long", 76)];
        let with = |extra| values.map(|(value, len)| Small { extra, value, len });
        [0, 4, 8, 28].into_iter().flat_map(with).collect()
    }

    fn name(&self) -> String {
        format!("{}{}", self.value, self.extra)
    }

    fn has_attribute(&self) -> bool {
        self.len > 0 && self.extra > 0
    }

    /// What debugfs makes it by.
    fn script(&self) -> Res<Vec<String>> {
        let (name, extra, len) = (self.name(), self.extra, self.len);
        let mut cmds = vec![
            format!("write /dev/null {name}"),
            format!("sif {name} extra_isize {extra}"),
        ];
        if self.has_attribute() {
            let file = format!("/mnt/value{len}");
            sys::write_file(&file, &"v".repeat(len))?;
            cmds.push(format!("ea_set -f {file} {name} user.x"));
        }
        Ok(cmds)
    }

    /// It has the time that was set, though it had no field for it; but no time of birth.
    fn has_grown(&self, t: &T) -> Res {
        let path = t.p(&self.name());
        let st = sys::lstat(&path)?;
        let mtime = (st.st_mtime, st.st_mtime_nsec);
        same!(mtime, (YEAR_2100, 6), "{path}: mtime");
        let mask = sys::statx(&path)?.stx_mask & libc::STATX_BTIME;
        ensure!(
            !t.ours() || mask == 0 || self.extra == 28,
            "{path}: a birth time"
        );
        Ok(())
    }
}

/// Inodes of an image that once had smaller ones get the fields they lack when they are written.
/// Attributes that are in the way move up, or to a block.
fn small_fields(t: &mut T) -> Res {
    for feats in ["metadata_csum", "^metadata_csum"] {
        t.mkfs(64, &["-O", feats])?;
        let files = Small::all();
        let mut cmds = Vec::new();
        for file in &files {
            cmds.extend(file.script()?);
        }
        script(t, &cmds)?;
        t.fsck()?;
        t.mount("")?;
        for file in &files {
            sys::utimens(&t.p(&file.name()), (YEAR_2100, 5), (YEAR_2100, 6))?;
        }
        t.cycle()?;
        for file in &files {
            file.has_grown(t)?;
        }
        t.umount()?;
        t.fsck()?;
        for file in files.iter().filter(|file| file.has_attribute()) {
            let name = file.name();
            let text = t.debugfs(&[&format!("ea_get {name} user.x")])?;
            ensure!(text.contains(&"v".repeat(file.len)), "{name}: {text}");
        }
    }
    Ok(())
}

/// No name leads to an inode that is the file system's own.
fn own_inodes(t: &mut T) -> Res {
    t.mkfs(64, &["-O", "orphan_file"])?;
    let orphans = word(t, 0x280)?;
    ensure!(orphans > 10, "no orphan file: inode {orphans}");
    script(
        t,
        &[
            format!("ln <{orphans}> own"),
            format!("sif <{orphans}> links_count 2"),
        ],
    )?;
    t.broken = true;
    t.mount("errors=continue")?;
    put(&t.p("good"), 2, 5000)?;
    match sys::open(&t.p("own"), libc::O_RDWR, 0) {
        Ok(_) => fail!("the orphan file was opened"),
        Err(e) => ensure!(
            e.errno == libc::EUCLEAN || !t.ours() && e.errno == libc::EIO,
            "{e}"
        ),
    }
    if t.ours() {
        errno!(sys::lstat(&t.p("own")), EUCLEAN);
        errno!(sys::unlink(&t.p("own")), EUCLEAN);
        errno!(sys::link(&t.p("own"), &t.p("other")), EUCLEAN);
    }
    let f = sys::rdonly(&t.p("good"))?;
    holds(&f, 0, &pattern(2, 0, 5000), "another file")
}
