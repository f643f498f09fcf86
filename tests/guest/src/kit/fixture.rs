// SPDX-License-Identifier: GPL-2.0
//! What a case works with: device, image, mount, log.

pub use crate::bytes::{diff_at, pattern};
use crate::dm::{self, Dm};
use crate::harness::{Res, Stop, Variant, K4};
use crate::kmsg::Kmsg;
use crate::sys::{self, Aligned, Fd, Sys, SysErr};
use crate::{ensure, fail, skip};
use std::hash::{DefaultHasher, Hasher};
use std::process::Command;
use std::time::Duration;

/// Where file systems under test are mounted.
pub const MNT: &str = "/mnt/t";
/// A second mount, for comparisons.
pub const MNT2: &str = "/mnt/u";

pub struct T {
    /// What mounts now, and what is under test: `REXT4_OPTS` are for this one.
    pub fs: String,
    ours: String,
    /// The device of the image under test.
    pub dev: String,
    /// All devices given.
    pub disks: Vec<String>,
    pub var: Variant,
    /// Options of all mounts of the case, of any file system.
    pub opts: &'static str,
    pub kmsg: Kmsg,
    mounted: Vec<String>,
    /// Log lines taken by the case so far.
    pub seen: Vec<String>,
    /// The image is left broken on purpose: no e2fsck after the case.
    pub broken: bool,
    /// The device that has the image that was made last.
    made: Option<String>,
    pub dms: Vec<Dm>,
}

pub fn run_cmd(prog: &str, args: &[&str]) -> Res<(i32, String)> {
    let o = Command::new(prog)
        .args(args)
        .env(
            "PATH",
            "/usr/local/sbin:/usr/sbin:/sbin:/usr/local/bin:/usr/bin:/bin",
        )
        .env("LC_ALL", "C")
        .env("E2FSPROGS_FAKE_TIME_IGNORED", "1")
        .stdin(std::process::Stdio::null())
        .output();
    let o = match o {
        Ok(o) => o,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => skip!("no program {prog}"),
        Err(e) => fail!("{prog}: {e}"),
    };
    let text = format!(
        "{}{}",
        String::from_utf8_lossy(&o.stdout),
        String::from_utf8_lossy(&o.stderr)
    );
    Ok((o.status.code().unwrap_or(-1), text))
}

impl T {
    pub fn new(fs: &str, disks: &[String], var: Variant) -> Res<T> {
        let Some(dev) = disks.first() else {
            fail!("no block device given")
        };
        Ok(T {
            fs: fs.to_string(),
            ours: fs.to_string(),
            dev: dev.clone(),
            disks: disks.to_vec(),
            var,
            opts: "",
            kmsg: Kmsg::open()?,
            mounted: Vec::new(),
            seen: Vec::new(),
            broken: false,
            made: None,
            dms: Vec::new(),
        })
    }

    pub fn for_tool(fs: &str, disks: &[String]) -> Res<T> {
        T::new(fs, disks, K4)
    }

    /// Path under the mount.
    pub fn p(&self, name: &str) -> String {
        format!("{MNT}/{name}")
    }

    pub fn bs(&self) -> u64 {
        self.var.bs as u64
    }

    /// Do new files have extents, so that blocks can be preallocated?
    pub fn extents(&self) -> bool {
        !self.var.feats.contains("^extent")
    }

    /// Is the file system under test not the kernel's own ext4?
    pub fn ours(&self) -> bool {
        self.fs != "ext4"
    }

    /// The image that was made last is about to be overwritten: checks it, unless it is broken on
    /// purpose, or mounted.
    pub fn end_of_image(&mut self) -> Res {
        let Some(dev) = self.made.take() else {
            return Ok(());
        };
        if self.broken || !self.mounted.is_empty() || !sys::exists(&dev) {
            return Ok(());
        }
        self.forget_pages()?;
        match self.fsck_dev(&dev) {
            Err(Stop::Fail(why)) => fail!("the image before: {why}"),
            end => end,
        }
    }

    /// mke2fs with the variant's block size and features.
    pub fn mkfs_on(&mut self, dev: &str, mb: u64, more: &[&str]) -> Res {
        self.end_of_image()?;
        let bs = self.var.bs.to_string();
        let size = format!("{mb}m");
        let mut a = vec!["-q", "-F", "-t", "ext4", "-b", &bs, "-I", "256"];
        a.extend(["-E", "nodiscard,lazy_itable_init=0,lazy_journal_init=0"]);
        if !self.var.feats.is_empty() {
            a.extend(["-O", self.var.feats]);
        }
        a.extend(more);
        a.extend([dev, &size]);
        let (code, text) = run_cmd("mke2fs", &a)?;
        ensure!(code == 0, "mke2fs {a:?}: {}", text.trim());
        self.made = Some(dev.to_string());
        Ok(())
    }

    pub fn mkfs(&mut self, mb: u64, more: &[&str]) -> Res {
        let dev = self.dev.clone();
        self.mkfs_on(&dev, mb, more)
    }

    /// A new image of 64 MiB, mounted.
    pub fn fresh(&mut self) -> Res {
        self.fresh_mb(64)
    }

    pub fn fresh_mb(&mut self, mb: u64) -> Res {
        self.mkfs(mb, &[])?;
        self.mount("")
    }

    /// A device of device mapper over the first MiBs of the device under test, for this case: its
    /// table can be swapped under a mounted file system.
    pub fn mapped(&mut self, name: &str, mb: u64) -> Res<Dm> {
        if !dm::usable() {
            skip!("no device mapper");
        }
        let d = dm::start(name, &[dm::linear(&self.dev, 0, mb)])?;
        self.dms.push(d.clone());
        Ok(d)
    }

    pub fn mount(&mut self, opts: &str) -> Res {
        self.try_mount(0, opts)?;
        Ok(())
    }

    pub fn try_mount(&mut self, flags: u64, opts: &str) -> Sys<()> {
        let (dev, fs) = (self.dev.clone(), self.fs.clone());
        self.mount_as(&dev, MNT, &fs, flags, opts)
    }

    pub fn mount_as(&mut self, dev: &str, dir: &str, fs: &str, flags: u64, opts: &str) -> Sys<()> {
        let more = match std::env::var("REXT4_OPTS") {
            Ok(more) if fs == self.ours => more,
            _ => String::new(),
        };
        let all: Vec<&str> = [opts, self.opts, &more]
            .into_iter()
            .filter(|some| !some.is_empty())
            .collect();
        sys::mount(dev, dir, fs, flags, &all.join(","))?;
        self.mounted.push(dir.to_string());
        Ok(())
    }

    pub fn remount(&self, flags: u64, opts: &str) -> Sys<()> {
        sys::mount("none", MNT, &self.fs, flags | libc::MS_REMOUNT, opts)
    }

    pub fn umount(&mut self) -> Res {
        self.umount_dir(MNT)
    }

    pub fn umount_dir(&mut self, dir: &str) -> Res {
        let_go(dir)?;
        self.mounted.retain(|d| d != dir);
        self.forget_pages()
    }

    /// What udev's probes read of a disk that device mapper keeps open stays in its page cache, and
    /// is older than what was written by way of device mapper.
    fn forget_pages(&self) -> Res {
        const BLKFLSBUF: u64 = 0x1261;
        for disk in self.disks.iter().filter(|_| !self.dms.is_empty()) {
            // SAFETY: the request takes no argument.
            unsafe { sys::rdonly(disk)?.ioctl::<u8>(BLKFLSBUF, std::ptr::null_mut()) }?;
        }
        Ok(())
    }

    /// Unmount and mount again: what is read next comes from the disk.
    pub fn cycle(&mut self) -> Res {
        self.umount()?;
        self.mount("")
    }

    /// e2fsck -fn of a device must find nothing.
    pub fn fsck_dev(&self, dev: &str) -> Res {
        let (code, text) = run_cmd("e2fsck", &["-fn", dev])?;
        if code != 0 {
            let lines: Vec<&str> = text
                .lines()
                .filter(|l| !l.starts_with("Pass "))
                .take(12)
                .collect();
            fail!("e2fsck -fn {dev} exit {code}: {}", lines.join(" | "));
        }
        Ok(())
    }

    pub fn fsck(&self) -> Res {
        self.fsck_dev(&self.dev)
    }

    /// debugfs -w -R for each command.
    pub fn debugfs(&self, cmds: &[&str]) -> Res<String> {
        let mut all = String::new();
        for c in cmds {
            let (code, text) = run_cmd("debugfs", &["-w", "-R", c, &self.dev])?;
            ensure!(code == 0, "debugfs {c}: {}", text.trim());
            all.push_str(&text);
        }
        Ok(all)
    }

    /// Writes out and drops clean page cache, dentries and inodes of the whole machine.
    pub fn drop_caches(&self) -> Res {
        let f = "/proc/sys/vm/drop_caches";
        if !sys::exists(f) {
            skip!("the kernel has no {f}");
        }
        sys::sync();
        sys::write_file(f, "3\n")?;
        Ok(())
    }

    /// New log lines; they stay available to `logged`.
    pub fn log(&mut self) -> &[String] {
        let new = self.kmsg.take();
        self.seen.extend(new);
        &self.seen
    }

    /// Is there a line with every word of one of the alternatives (case ignored)?
    pub fn logged(&mut self, alternatives: &[&[&str]]) -> bool {
        let lines: Vec<String> = self.log().iter().map(|l| l.to_lowercase()).collect();
        lines.iter().any(|l| {
            alternatives
                .iter()
                .any(|words| words.iter().all(|w| l.contains(&w.to_lowercase())))
        })
    }

    pub fn forget_log(&mut self) {
        self.log();
        self.seen.clear();
    }

    /// The unmounted device, for direct edits.
    pub fn raw(&self) -> Sys<Fd> {
        sys::open(&self.dev, libc::O_RDWR, 0)
    }

    /// Reads bytes of the device; a mounted one can be opened for reading only.
    pub fn peek(&self, off: u64, len: usize) -> Res<Vec<u8>> {
        let mut v = vec![0; len];
        let n = sys::rdonly(&self.dev)?.pread(&mut v, off)?;
        ensure!(n == len, "short read of {} at {off}", self.dev);
        Ok(v)
    }

    /// Changes bytes of the unmounted device.
    pub fn poke(&self, off: u64, data: &[u8]) -> Res {
        let f = self.raw()?;
        f.pwrite(data, off)?;
        f.fsync()?;
        Ok(())
    }

    /// The first MiBs of the unmounted device, one after the other, past its page cache: what it
    /// reads ahead for udev's probes may be older than the disk. Not all at once: User-Mode Linux
    /// has a mapping on the host for each page of a process, and the host allows 65530.
    pub fn each_mib(&self, mib: u64, mut f: impl FnMut(u64, &[u8]) -> Res) -> Res {
        let mut v = Aligned::new(1 << 20);
        let d = sys::open(&self.dev, libc::O_RDONLY | libc::O_DIRECT, 0)?;
        for at in (0..mib).map(|i| i << 20) {
            let n = d.pread(&mut v, at)?;
            ensure!(n == v.len(), "short read of {} at {at}: {n}", self.dev);
            f(at, &v)?;
        }
        Ok(())
    }

    /// What `unchanged` compares with: a digest of each MiB.
    pub fn image(&self, mib: u64) -> Res<Vec<u64>> {
        let mut digests = Vec::new();
        self.each_mib(mib, |_, bytes| {
            let mut h = DefaultHasher::new();
            h.write(bytes);
            digests.push(h.finish());
            Ok(())
        })?;
        Ok(digests)
    }

    /// Compares the device with an earlier `image` of it.
    pub fn unchanged(&self, before: &[u64], what: &str) -> Res {
        let now = self.image(before.len() as u64)?;
        let differ: Vec<usize> = (0..now.len()).filter(|&i| now[i] != before[i]).collect();
        ensure!(
            differ.is_empty(),
            "{what}: the device changed, in MiB {differ:?}"
        );
        Ok(())
    }

    /// Leaves nothing mounted, and checks the image unless it is broken on purpose.
    pub fn finish(&mut self, ok: bool) -> Res {
        let mut first = Ok(());
        for dir in std::mem::take(&mut self.mounted).iter().rev() {
            if let Err(e) = let_go(dir) {
                if first.is_ok() {
                    first = Err(Stop::Fail(format!("at the end: {e}")));
                }
                let _ = sys::umount(dir, libc::MNT_DETACH);
            }
        }
        if ok && first.is_ok() && self.made.is_some() && !self.broken {
            first = self.forget_pages().and_then(|()| self.fsck());
        }
        for d in std::mem::take(&mut self.dms).into_iter().rev() {
            if let Err(e) = d.remove() {
                if first.is_ok() {
                    first = Err(Stop::Fail(format!("at the end: {e}")));
                }
            }
        }
        first
    }
}

/// Tries for a minute, as long as somebody is about to let go of what it is about: for EBUSY, and
/// for EAGAIN, as a module says it.
pub fn unless_busy(mut f: impl FnMut() -> Sys<()>) -> Sys<()> {
    for _ in 0..3000 {
        match f() {
            Err(SysErr {
                errno: libc::EBUSY | libc::EAGAIN,
                ..
            }) => std::thread::sleep(Duration::from_millis(20)),
            done => return done,
        }
    }
    f()
}

/// Unmounts. A worker of io_uring may hold a file for a moment after it has told the write's end.
fn let_go(dir: &str) -> Sys<()> {
    unless_busy(|| sys::umount(dir, 0))
}

/// The file must hold exactly this.
#[track_caller]
pub fn holds(f: &Fd, off: u64, want: &[u8], what: &str) -> Res {
    let l = std::panic::Location::caller();
    let mut got = vec![0xEE; want.len()];
    let n = f.pread(&mut got, off)?;
    got.truncate(n);
    match diff_at(&got, want) {
        None => Ok(()),
        Some(d) => Err(Stop::Fail(format!(
            "{what}: {} from {off}: {d} [{}:{}]",
            f.name,
            l.file(),
            l.line()
        ))),
    }
}

impl T {
    /// The file of this name must hold this from its start.
    #[track_caller]
    pub fn file_holds(&self, name: &str, want: &[u8], what: &str) -> Res {
        holds(&sys::rdonly(&self.p(name))?, 0, want, what)
    }

    /// The file must hold this from its start, as the page cache has it and as the disk has it.
    #[track_caller]
    pub fn holds_both(&self, f: &Fd, want: &[u8], what: &str) -> Res {
        holds(f, 0, want, &format!("{what}, cached"))?;
        self.drop_caches()?;
        holds(f, 0, want, &format!("{what}, from disk"))
    }
}

/// Writes a pattern file in one go and returns it open.
pub fn put(path: &str, seed: u64, len: usize) -> Sys<Fd> {
    let f = sys::create(path)?;
    f.pwrite(&pattern(seed, 0, len), 0)?;
    Ok(f)
}

/// Names in a directory, sorted, without the dots.
pub fn names(dir: &str) -> Res<Vec<String>> {
    let mut v = Vec::new();
    for e in std::fs::read_dir(dir).map_err(|e| Stop::Fail(format!("read {dir}: {e}")))? {
        let e = e.map_err(|e| Stop::Fail(format!("read {dir}: {e}")))?;
        v.push(e.file_name().to_string_lossy().into_owned());
    }
    v.sort();
    Ok(v)
}

impl T {
    /// Closes the file, then as `cycle`.
    pub fn cycle_with<F>(&mut self, f: F) -> Res {
        drop(f);
        self.cycle()
    }
}

/// Does the kernel know this file system type, if need be after loading its module?
pub fn knows_fs(fs: &str) -> bool {
    let listed = || {
        std::fs::read_to_string("/proc/filesystems")
            .is_ok_and(|t| t.split_whitespace().any(|w| w == fs))
    };
    listed() || (run_cmd("modprobe", &["-q", fs]).is_ok() && listed())
}

/// A mount table of our own where the kernel has namespaces, and a tmpfs for mount points.
pub fn private_mounts() -> Res {
    // SAFETY: plain call. Where it fails the VM's own mount table serves.
    if unsafe { libc::unshare(libc::CLONE_NEWNS) } == 0 {
        sys::mount("none", "/", "", libc::MS_REC | libc::MS_PRIVATE, "")?;
    }
    sys::mount("none", "/mnt", "tmpfs", 0, "")?;
    sys::mkdir(MNT, 0o755)?;
    sys::mkdir(MNT2, 0o755)?;
    Ok(())
}

/// Zero, or another number for other random sequences (`guest test --seed`).
pub fn seed() -> u64 {
    std::env::var("REXT4_SEED")
        .ok()
        .and_then(|s| s.parse().ok())
        .unwrap_or(0)
}

/// How much slower than the figures in the case list a machine is, if it has nothing else to do: of
/// the engines it is the emulated one that is slow.
pub fn slowness() -> u64 {
    let cpu = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    if cpu.contains("User Mode Linux") {
        2
    } else {
        8
    }
}
