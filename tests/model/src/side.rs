// SPDX-License-Identifier: GPL-2.0
//! One of the two file systems: what a step is there, and what can be seen of its files.

use crate::model::Call;
use crate::names::TARGET;
use crate::op::{Mount, Name, Op, Sync, View, Way};
use crate::place::{MOST, PAGE};
use crate::views;
use guest::aio::{self, Aio};
use guest::dm::{self, Dm};
use guest::fiemap;
use guest::finder::{fill, is_own_machine};
use guest::map::Map;
use guest::sys::{self, Aligned, Fd, Sys, SysErr};
use libc::{O_APPEND, O_CREAT, O_DIRECT, O_DSYNC, O_NOFOLLOW, O_RDWR, O_TRUNC};
use std::cell::{Cell, RefCell};

/// MiB of a disk that are used, at most.
const MIB: u64 = 16;

/// Bytes of the mapping that is kept: an append may begin where no other write does.
const HELD: usize = 2 * MOST as usize;

/// The directory that histories have to themselves.
const WORK: &str = "h";

/// How long is waited for a file that is closed and still there.
const TICK: std::time::Duration = std::time::Duration::from_millis(10);
const TICKS: usize = 500;

mod asked;
use asked::{flags, mode, sync};

pub struct Side {
    /// The type of the file system.
    pub fs: String,
    /// What is mounted.
    pub dev: String,
    /// The disk below it.
    pub disk: String,
    /// What is between the two.
    dm: Option<Dm>,
    /// Data was lost, and syncfs(2) will say so once.
    lost: Cell<bool>,
    /// Where it is mounted.
    pub dir: String,
    /// Mount options beside the usual ones: each with a comma before it.
    pub options: String,
    /// For this history.
    pub mount: Cell<Mount>,
    /// What stat(2) said after the last step, of the names that it was about.
    seen: RefCell<Vec<(String, Option<libc::stat>)>>,
    /// Free blocks and inodes when nothing is there.
    free: Cell<(u64, u64)>,
    /// Nothing can be learned from it in this history any more.
    away: Cell<bool>,
    /// Histories in which it did what the model does not.
    pub strays: Cell<u64>,
    /// A file that is open, and mapped.
    held: RefCell<Option<(Fd, Map)>>,
    aio: RefCell<Aio>,
}

impl Side {
    /// The disk is mounted by way of a device of its own, in the VM. So it can be read
    /// while it is mounted, and nothing that is only in the cache of that device gets to it by
    /// being read.
    pub fn new(fs: &str, disk: &str, dir: &str) -> Sys<Side> {
        let name = format!("model-{}", disk.rsplit('/').next().unwrap_or_default());
        let table = dm::linear(disk, 0, MIB);
        let mut side = Side::on(fs, disk, dir)?;
        if is_own_machine() && dm::usable() {
            let dm = dm::start(&name, &[table])?;
            side.dev = dm.path.clone();
            side.dm = Some(dm);
        }
        Ok(side)
    }

    /// The disk itself is mounted.
    pub fn on(fs: &str, disk: &str, dir: &str) -> Sys<Side> {
        Ok(Side {
            fs: fs.to_string(),
            dev: disk.to_string(),
            disk: disk.to_string(),
            dm: None,
            lost: Cell::new(false),
            options: String::new(),
            mount: Cell::default(),
            dir: dir.to_string(),
            seen: RefCell::new(Vec::new()),
            away: Cell::new(false),
            strays: Cell::new(0),
            free: Cell::new((0, 0)),
            held: RefCell::new(None),
            aio: RefCell::new(Aio::new(1)?),
        })
    }

    pub fn path(&self, name: &str) -> String {
        if let (true, Some((f, _))) = (name == Name::HELD.text(), &*self.held.borrow()) {
            return format!("/proc/self/fd/{}", f.raw);
        }
        format!("{}/{WORK}/{name}", self.dir)
    }

    /// Takes all blocks but so many, and leaves as many inodes.
    pub fn fill(&self, room: u64) -> Sys<()> {
        let f = sys::create(&self.filler())?;
        let block = sys::statfs(&self.dir)?.f_bsize as u64;
        let len = fill(&f, block)?;
        f.truncate(len.saturating_sub(room * block))?;
        // What is freed can be used when that is committed.
        self.sync()
    }

    /// What `fill` took, if it did.
    pub fn filler(&self) -> String {
        format!("{}/full", self.dir)
    }

    /// A new directory for a history; also after a power cut.
    pub fn begin(&self, has_cut: bool) -> Sys<()> {
        self.away.set(false);
        self.lost.set(false);
        self.forget();
        self.free.set(self.counters()?);
        self.work()?;
        if has_cut {
            self.sync()?;
        }
        Ok(())
    }

    /// It takes no part in the rest of this history.
    pub fn leave(&self) {
        self.away.set(true);
    }

    /// As `leave`, for what it has done.
    pub fn stray(&self) {
        self.strays.set(self.strays.get() + 1);
        self.leave();
    }

    pub fn is_away(&self) -> bool {
        self.away.get()
    }

    /// What stat(2) says of these names, or said after the last step: nobody else was here.
    pub fn before(&self, paths: &[&str]) -> Vec<Option<libc::stat>> {
        let seen = self.seen.borrow();
        let last = |path: &str| seen.iter().find(|seen| seen.0 == path);
        let stat = |path: &&str| last(path).map_or_else(|| self.stat(path).ok(), |seen| seen.1);
        paths.iter().map(stat).collect()
    }

    /// What stat(2) says of these names after a step.
    pub fn after(&self, paths: &[&str]) -> Vec<Option<libc::stat>> {
        let all: Vec<_> = paths.iter().map(|path| self.stat(path).ok()).collect();
        let paths = paths.iter().map(|path| path.to_string());
        self.seen.replace(paths.zip(all.iter().copied()).collect());
        all
    }

    /// What [`Self::after`] has found.
    pub fn seen(&self, path: &str) -> Option<libc::stat> {
        let seen = self.seen.borrow();
        seen.iter().find(|seen| seen.0 == path)?.1
    }

    /// Bytes and inodes that are not free any more since the history began.
    pub fn used(&self) -> Sys<(u64, u64)> {
        let (was, st) = (self.free.get(), sys::statfs(&self.dir)?);
        let blocks = was.0.saturating_sub(st.f_bfree);
        Ok((blocks * st.f_bsize as u64, was.1.saturating_sub(st.f_ffree)))
    }

    /// The directory goes with all that is in it.
    pub fn remove(&self) -> Result<(), String> {
        self.release();
        std::fs::remove_dir_all(self.path("")).map_err(|e| format!("{}: removal: {e}", self.fs))
    }

    /// As [`Self::remove`], and the counters are what they were.
    ///
    /// Who completes asynchronous I/O tells of it, and lets go of the file later. Where it is a
    /// worker of the kernel, and the last one, the kernel does it some ticks later. Until then the
    /// file is there, and keeps its directory: one block and two inodes, if it is empty.
    pub fn end(&self) -> Result<(), String> {
        self.remove()?;
        let _ = sys::unlink(&self.filler());
        let was = self.free.get();
        let mut now = (0, 0);
        for _ in 0..TICKS {
            self.sync().map_err(|e| e.to_string())?;
            now = self.counters().map_err(|e| e.to_string())?;
            if was == now {
                break;
            }
            std::thread::sleep(TICK);
        }
        if was != now {
            return Err(format!(
                "{}: {} blocks and {} inodes are free when all is gone, before it was {} and {}",
                self.fs, now.0, now.1, was.0, was.1
            ));
        }
        Ok(())
    }

    pub fn sync(&self) -> Sys<()> {
        self.sync_by(&self.root()?)
    }

    fn sync_by(&self, f: &Fd) -> Sys<()> {
        match f.syncfs() {
            Err(e) if e.errno == libc::EIO && self.lost.take() => Ok(()),
            other => other,
        }
    }

    /// What is dirty of the file is written, and the disk refuses it; then it leaves the memory.
    pub fn lose(&self, name: Name) -> Sys<()> {
        let f = self.open(name, O_RDWR)?;
        self.release();
        match self.with_writes("error_writes", &|| f.sync_range(0, 0)) {
            Some(Err(e)) if e.errno == libc::EIO => self.lost.set(true),
            Some(other) => other?,
            None => return Ok(()),
        }
        f.dontneed()
    }

    /// Does this while what is written gets nowhere, and nobody is told. False if that cannot be.
    pub fn without_writes(&self, does: &dyn Fn() -> Sys<()>) -> Sys<bool> {
        match self.with_writes("drop_writes", does) {
            Some(done) => done.map(|()| true),
            None => Ok(false),
        }
    }

    /// Does this while the disk treats what is written in this way; None if it cannot.
    fn with_writes(&self, how: &str, does: &dyn Fn() -> Sys<()>) -> Option<Sys<()>> {
        let dm = self.dm.as_ref()?;
        let bad = format!("{} 0 0 1 1 {how}", self.disk);
        let done = dm
            .swap(&[(0, MIB * 2048, "flakey", bad)])
            .and_then(|()| does());
        let good = dm.swap(&[dm::linear(&self.disk, 0, MIB)]);
        Some(done.and(good))
    }

    fn counters(&self) -> Sys<(u64, u64)> {
        sys::statfs(&self.dir).map(|st| (st.f_bfree, st.f_ffree))
    }

    fn open(&self, name: Name, flags: i32) -> Sys<Fd> {
        self.open_path(name.text(), flags)
    }

    /// Follows no link, but that of /proc.
    pub(crate) fn open_path(&self, path: &str, flags: i32) -> Sys<Fd> {
        let links = if path == Name::HELD.text() {
            0
        } else {
            O_NOFOLLOW
        };
        sys::open(&self.path(path), flags | links, 0o644)
    }

    pub fn stat(&self, path: &str) -> Sys<libc::stat> {
        match &*self.held.borrow() {
            Some((f, _)) if path == Name::HELD.text() => f.stat(),
            _ => sys::lstat(&self.path(path)),
        }
    }

    /// Opens the file and keeps it open, with a mapping of more than it will ever have.
    fn hold(&self, name: Name) -> Sys<()> {
        let f = self.open(name, O_RDWR)?;
        let map = Map::shared(&f, HELD)?;
        self.held.replace(Some((f, map)));
        Ok(())
    }

    /// Stores through the mapping that is kept. A fault that fails leaves something else in place
    /// of its page: then it is mapped anew.
    fn store_held(&self, at: u64, bytes: &[u8]) -> Sys<()> {
        let mut held = self.held.borrow_mut();
        let Some((f, map)) = &mut *held else {
            return Ok(());
        };
        let stored = store(map, at, bytes);
        if stored.is_err() {
            *map = Map::shared(f, HELD)?;
        }
        stored
    }

    pub fn release(&self) {
        self.held.take();
    }

    /// So many bytes through the mapping that is kept.
    pub fn look_held(&self, len: usize) -> Vec<u8> {
        let held = self.held.borrow();
        held.as_ref()
            .map_or(Vec::new(), |(_, map)| map.read(0, len))
    }

    fn root(&self) -> Sys<Fd> {
        sys::rdonly(&self.dir)
    }

    pub fn mount(&self) -> Sys<()> {
        sys::mount(&self.dev, &self.dir, &self.fs, 0, &self.mount_options())?;
        self.unlock().map(drop)
    }

    pub fn umount(&self) -> Sys<()> {
        sys::umount(&self.dir, 0)
    }

    /// What was seen may be so no more.
    pub fn forget(&self) {
        self.seen.take();
    }

    /// Does a step here: what it returned, or its errno.
    pub fn apply(&self, call: &Call) -> Result<u64, i32> {
        self.answer(call).map_err(|e| e.errno)
    }

    fn answer(&self, call: &Call) -> Sys<u64> {
        let path = |name: Name| self.path(name.text());
        match call.op {
            Op::Create(name) => self.open(name, O_RDWR | O_CREAT | O_TRUNC).map(drop)?,
            Op::Write(name, _, _, way) => return self.write(name, call, way),
            Op::Truncate(name, _) => self.open(name, O_RDWR)?.truncate(call.at)?,
            Op::Fallocate(name, _, _, how) => {
                self.open(name, O_RDWR)?
                    .fallocate(mode(how), call.at, call.len)?;
            }
            Op::Sync(name, Sync::All) => self.sync_by(&self.open(name, O_RDWR)?)?,
            Op::Sync(name, how) => sync(&self.open(name, O_RDWR)?, how)?,
            Op::Lose(name) => self.lose(name)?,
            Op::Cut => unreachable!("only one side has its power cut"),
            // What is seen is compared by the caller.
            Op::Look(name, _) => drop(self.open(name, O_RDWR)?),
            Op::Forget(name) => self.open(name, O_RDWR)?.dontneed()?,
            Op::Evict => evict()?,
            Op::Hold(name) => self.hold(name)?,
            Op::LookHeld => self.open(Name::HELD, O_RDWR).map(drop)?,
            Op::Release => self.release(),
            Op::Remount => {
                self.release();
                self.umount()?;
                self.mount()?;
            }
            Op::ReadOnly => self.read_only()?,
            Op::Flag(name, flag) => self.set_flag(name.text(), flag)?,
            Op::Freeze => {
                let root = self.root()?;
                root.freeze(true)?;
                root.freeze(false)?;
            }
            Op::Mkdir(name) => sys::mkdir(&path(name), 0o755)?,
            Op::Rmdir(name) => sys::rmdir(&path(name))?,
            Op::Unlink(name) => sys::unlink(&path(name))?,
            Op::Link(old, new) => sys::link(&path(old), &path(new))?,
            Op::Symlink(name) => sys::symlink(TARGET, &path(name))?,
            Op::Rename(old, new, how) => sys::rename2(&path(old), &path(new), flags(how))?,
            Op::Chmod(name, mode) => sys::chmod(&path(name), u32::from(mode))?,
            Op::Attribute(name, how) => {
                let block = sys::statfs(&self.dir)?.f_bsize as u64;
                self.set_attribute(name.text(), call.value(how, block).as_deref())?;
            }
        }
        Ok(0)
    }

    fn write(&self, name: Name, call: &Call, way: Way) -> Sys<u64> {
        let flags = match way {
            Way::Buffered | Way::Mapped => 0,
            Way::Append => O_APPEND,
            Way::Dsync => O_DSYNC,
            Way::Direct | Way::Async | Way::Own => O_DIRECT,
            Way::DirectDsync => O_DIRECT | O_DSYNC,
        };
        let f = self.open(name, O_RDWR | flags)?;
        let mut bytes = Aligned::of(&call.bytes());
        match way {
            Way::Mapped if name == Name::HELD => self.store_held(call.at, &bytes)?,
            Way::Mapped if bytes.is_empty() => (),
            Way::Mapped => {
                let map = Map::shared(&f, (call.at + call.len) as usize)?;
                store(&map, call.at, &bytes)?;
            }
            Way::Append => return f.write(&bytes).map(|n| n as u64),
            Way::Own if call.len == 0 => (),
            Way::Own => {
                let (from, len) = (call.source() as usize, call.len as usize);
                let map = Map::shared(&f, from + len)?;
                let n = f.pwrite_once(map.as_slice(from, len), call.at)?;
                return Ok(n as u64);
            }
            Way::Async => return self.submit(&f, &mut bytes, call.at),
            _ => return f.pwrite_once(&bytes, call.at).map(|n| n as u64),
        }
        Ok(call.len)
    }

    fn submit(&self, f: &Fd, bytes: &mut Aligned, at: u64) -> Sys<u64> {
        let mut aio = self.aio.borrow_mut();
        aio.submit(f, aio::Op::Write, bytes, at, 0)?;
        let done = aio.wait(1)?;
        u64::try_from(done[0].1).map_err(|_| SysErr {
            what: "io_getevents".to_string(),
            errno: -done[0].1 as i32,
        })
    }

    /// What a file has blocks for, behind its end as well; nothing for what is no file.
    pub fn extents(&self, path: &str) -> Sys<Vec<fiemap::Ext>> {
        if self.stat(path)?.st_mode & libc::S_IFMT != libc::S_IFREG {
            return Ok(Vec::new());
        }
        let f = self.open_path(path, libc::O_RDONLY)?;
        fiemap::fiemap(&f, 0, HELD as u64, true, 64)
    }

    /// All that a file holds, seen in this way.
    pub fn look(&self, path: &str, view: View) -> Sys<Vec<u8>> {
        let direct = if view == View::Direct { O_DIRECT } else { 0 };
        let f = self.open_path(path, libc::O_RDONLY | direct)?;
        let size = f.size()? as usize;
        match view {
            // What has no byte can be neither mapped nor asked of FIEMAP.
            View::Mapped | View::Fiemap if size == 0 => Ok(Vec::new()),
            View::Mapped => {
                let map = Map::new(&f, 0, size, libc::PROT_READ, libc::MAP_SHARED)?;
                Ok(map.read(0, size))
            }
            View::Seek => views::seek(&f, size),
            View::Fiemap => views::mapped(&f, size),
            _ => {
                // More than the size: what comes then is too much.
                let mut seen = Aligned::new(size.next_multiple_of(PAGE as usize) + PAGE as usize);
                let n = f.pread(&mut seen, 0)?;
                Ok(seen[..n].to_vec())
            }
        }
    }
}

/// Stores through a mapping.
fn store(map: &Map, at: u64, bytes: &[u8]) -> Sys<()> {
    map.write(at as usize, bytes);
    match guest::map::sigbus_taken() {
        0 => Ok(()),
        _ => Err(SysErr {
            what: "SIGBUS".to_string(),
            errno: libc::EFAULT,
        }),
    }
}

/// Clean pages, dentries and inodes of the whole machine leave the memory.
pub fn evict() -> Sys<()> {
    if !is_own_machine() {
        return Ok(());
    }
    sys::write_file("/proc/sys/vm/drop_caches", "3\n")
}
