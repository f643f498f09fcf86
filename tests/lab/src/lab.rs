// SPDX-License-Identifier: GPL-2.0
//! What a scenario works with.

use crate::control::Control;
use crate::process::{self, Process};
use crate::race::{Mode, Race, Res, Stop, MEMORY};
use crate::thread::{self, Found, Task, Thread};
use crate::tracing::{self, mark, me};
use guest::fiemap::fiemap;
use guest::fixture::T;
use guest::map::Map;
use guest::sys::{self, Aligned, Fd, Sys};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The size of the images in MiB.
const IMAGE: u64 = 64;
/// How long a thread may take to its point, in ms.
const PATIENCE: u32 = 60_000;
/// How long to wait for something that comes by itself.
const SOON: Duration = Duration::from_secs(60);
/// How long to wait for inodes that nobody has any more. Some scenarios leak: they wait in vain.
const EVICTED: Duration = Duration::from_secs(10);

/// Ends the scenario: this is the harm.
#[macro_export]
macro_rules! harm {
    ($($a:tt)*) => {
        return Err($crate::lab::harm(format!($($a)*)))
    };
}

/// Ends the scenario: it does not do what it should, whatever the protection.
#[macro_export]
macro_rules! broken {
    ($($a:tt)*) => {
        return Err($crate::race::Stop::Broken(
            format!("{} [{}:{}]", format!($($a)*), file!(), line!())))
    };
}

/// Harm, told to the trace as well.
pub fn harm(words: String) -> Stop {
    mark(&format!("harm {}: {words}", me()));
    Stop::Harm(words)
}

pub struct Lab {
    pub t: T,
    control: Control,
    /// Free blocks and inodes of the fresh image.
    free: (u64, u64),
}

/// `file` with the bytes that `f` finds different from `want`: offset, and both values.
pub fn differ(got: &[u8], want: &[u8], base: u64) -> Option<String> {
    if got.len() != want.len() {
        return Some(format!("{} bytes instead of {}", got.len(), want.len()));
    }
    let i = (0..got.len()).find(|&i| got[i] != want[i])?;
    Some(format!(
        "{} at {} instead of {}",
        show(got[i]),
        base + i as u64,
        show(want[i])
    ))
}

/// Bytes that were compared: harm, or not.
fn judge(differ: Option<String>, what: &str) -> Res {
    if let Some(d) = differ {
        return Err(harm(format!("{what}: {d}")));
    }
    good("the right bytes");
    Ok(())
}

/// What was looked at is as it must be.
fn good(words: &str) {
    mark(&format!("good {}: {words}", me()));
}

/// A byte as the stories name it.
fn show(b: u8) -> String {
    match b {
        0 => "zero".into(),
        b if b.is_ascii_graphic() => format!("'{}'", char::from(b)),
        b => format!("{b:#04x}"),
    }
}

impl Lab {
    /// A fresh image, mounted, with the race's switches set.
    pub fn new(race: &Race, mode: Mode, fs: &str, disks: &[String]) -> Res<Lab> {
        let mut t = T::new(fs, disks, race.var)?;
        if race.memory {
            t.dev = MEMORY.to_string();
        }
        let control = Control::open()?;
        for s in race.given_off {
            control.off(s)?;
        }
        if mode == Mode::Off {
            for s in race.off {
                control.off(s)?;
            }
        }
        if let Err(e) = tracing::start() {
            println!("no trace: {e}");
        }
        t.mkfs(IMAGE, &[])?;
        t.mount(race.mount)?;
        let st = sys::statfs(&t.p(""))?;
        Ok(Lab {
            t,
            control,
            free: (st.f_bfree, st.f_ffree),
        })
    }

    /// Block size of the image.
    pub fn bs(&self) -> usize {
        self.t.var.bs
    }

    /// Creates an empty file.
    pub fn empty(&self, name: &str) -> Res<Arc<Fd>> {
        Ok(Arc::new(sys::create(&self.t.p(name))?))
    }

    /// Creates a file that holds these bytes, written out, and still in the page cache.
    pub fn file(&self, name: &str, data: &[u8]) -> Res<Arc<Fd>> {
        let f = self.file_not_synced(name, data)?;
        f.fsync()?;
        Ok(f)
    }

    /// Creates a file that holds these bytes, in the page cache only.
    pub fn file_not_synced(&self, name: &str, data: &[u8]) -> Res<Arc<Fd>> {
        let f = self.empty(name)?;
        f.pwrite(data, 0)?;
        Ok(f)
    }

    /// Unmounts and mounts again, so that every inode is read from the disk. Nobody has a file
    /// open.
    pub fn remount(&mut self) -> Res {
        tracing::step("unmounts, mounts again");
        Ok(self.t.cycle()?)
    }

    /// What stat says of the size must be this.
    pub fn has_size(&self, name: &str, want: u64, what: &str) -> Res {
        tracing::step("asks stat");
        let size = sys::rdonly(&self.t.p(name))?.size()?;
        if size != want {
            return Err(harm(format!("{what}: {size} bytes instead of {want}")));
        }
        good("the right size");
        Ok(())
    }

    /// An open file's second descriptor, for direct I/O.
    pub fn direct(&self, f: &Fd) -> Res<Arc<Fd>> {
        Ok(Arc::new(sys::direct(&f.name)?))
    }

    /// The situation is made, the race begins here: the picture starts with these words. Only what
    /// happens to these files is shown.
    pub fn given(&self, words: &str, files: &[&Fd]) -> Res {
        // A picture wants to begin with the race, and a trace that cannot be emptied is no harm.
        let _ = tracing::forget();
        mark(&format!("given {words}"));
        mark("role check");
        for f in files {
            self.show(f, f.name.rsplit('/').next().unwrap_or(&f.name), "")?;
        }
        Ok(())
    }

    /// Shows one more file from now on.
    fn show(&self, f: &Fd, name: &str, how: &str) -> Res {
        let st = f.stat()?;
        let (major, minor) = (libc::major(st.st_dev), libc::minor(st.st_dev));
        let ino = st.st_ino;
        mark(&format!("file {name} dev {major}:{minor} ino {ino}{how}"));
        Ok(())
    }

    /// Starts a thread; `words` say what it does.
    pub fn thread<R: Send + 'static>(
        &self,
        name: &str,
        words: &str,
        part: impl FnOnce() -> R + Send + 'static,
    ) -> Res<Thread<R>> {
        thread::spawn(name, words, part)
    }

    /// Starts a process for one system call, which may hang: `join` ends it then.
    pub fn process(
        &self,
        name: &str,
        words: &str,
        part: impl FnOnce() -> Sys<usize>,
    ) -> Res<Process> {
        process::spawn(name, words, part)
    }

    /// The next thread that comes to the point with this file waits there.
    pub fn arm(&self, point: &str, f: &Fd) -> Res {
        let ino = f.stat()?.st_ino;
        Ok(self.control.arm(point, &format!(" ino={ino}"))?)
    }

    /// As `arm`, for the byte `pos` of the file only.
    pub fn arm_at(&self, point: &str, f: &Fd, pos: u64) -> Res {
        let ino = f.stat()?.st_ino;
        let filter = format!(" ino={ino} pos={pos} len=1");
        Ok(self.control.arm(point, &filter)?)
    }

    /// Waits until a thread is parked at the point.
    pub fn wait(&self, point: &str) -> Res {
        Ok(self.control.wait(point, PATIENCE)?)
    }

    /// Whether a thread is parked at the point now.
    pub fn is_parked(&self, point: &str) -> Res<bool> {
        match self.control.wait(point, 10) {
            Err(e) if e.errno == libc::ETIMEDOUT => Ok(false),
            other => Ok(other.map(|()| true)?),
        }
    }

    /// As `wait`, where it may come to one of several points: that one.
    pub fn wait_any<'a>(&self, points: &[&'a str]) -> Res<&'a str> {
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_millis(PATIENCE.into()) {
            for point in points {
                if self.is_parked(point)? {
                    return Ok(point);
                }
            }
        }
        broken!("nobody came to {}", points.join(" or "))
    }

    /// As `wait`, where a protection may keep the thread from stopping there: false if it has
    /// finished instead.
    pub fn parked(&self, t: &impl Task, point: &str) -> Res<bool> {
        loop {
            if self.is_parked(point)? {
                return Ok(true);
            }
            if t.finished() {
                return Ok(false);
            }
        }
    }

    pub fn release(&self, point: &str) -> Res {
        Ok(self.control.release(point)?)
    }

    /// Waits until the thread has finished, or is blocked; being blocked is what `words` explain,
    /// for it is the protection at work.
    pub fn done_or_blocked(&self, t: &impl Task, words: &str) -> Res<Found> {
        let found = t.done_or_blocked()?;
        if found == Found::Blocked {
            self.caught(t.name(), words);
        }
        Ok(found)
    }

    /// What the conductor does from here on is this thread's part.
    pub fn play(&self, name: &str) {
        tracing::play(name);
    }

    /// What was looked at is as it must be.
    pub fn good(&self, words: &str) {
        good(words);
    }

    /// The protection shows: the picture has it in green.
    pub fn caught(&self, who: &str, words: &str) {
        mark(&format!("caught {who}: {words}"));
    }

    /// As `done_or_blocked`, where blocking is part of the situation.
    pub fn until_blocked(&self, t: &impl Task, words: &str) -> Res {
        match t.done_or_blocked()? {
            Found::Done => broken!("{} was not held: {words}", t.name()),
            Found::Blocked => mark(&format!("blocked {}: {words}", t.name())),
        }
        Ok(())
    }

    /// The file must hold these bytes for who reads it with read(2).
    pub fn reads(&self, f: &Fd, off: u64, want: &[u8], what: &str) -> Res {
        tracing::step(&format!("reads {}", range(off, want.len())));
        let mut got = vec![0xEE; want.len()];
        let n = f.pread(&mut got, off)?;
        got.truncate(n);
        judge(differ(&got, want, off), what)
    }

    /// The same through a mapping, whose page 0 is the file's.
    pub fn shows(&self, m: &Map, off: usize, want: &[u8], what: &str) -> Res {
        tracing::step(&format!(
            "loads {} from the mapping",
            range(off as u64, want.len())
        ));
        judge(differ(&m.read(off, want.len()), want, off as u64), what)
    }

    /// Drops the clean pages of a file that nobody maps, and makes sure that they are gone.
    pub fn evict(&self, f: &Fd) -> Res {
        evict(f)
    }

    /// Where the block at byte `off` of the file is on the device, in bytes.
    pub fn place(&self, f: &Fd, off: u64) -> Res<u64> {
        match fiemap(f, off, 1, true, 1)?.first() {
            Some(e) if e.log <= off && e.phys != 0 => Ok(e.phys + off - e.log),
            other => broken!("{} has no block at {off}: {other:?}", f.name),
        }
    }

    /// Is the block at byte `off` a hole?
    pub fn hole(&self, f: &Fd, off: u64) -> Res<bool> {
        let found = fiemap(f, off, 1, false, 1)?;
        Ok(!found.iter().any(|e| e.log <= off && off < e.log + e.len))
    }

    /// What the disk has, whatever is in the page cache.
    pub fn on_disk(&self, f: &Fd, off: u64, want: &[u8], what: &str) -> Res {
        let direct = self.direct(f)?;
        tracing::step(&format!("direct read of {}", range(off, want.len())));
        let mut got = Aligned::new(want.len());
        direct.pread(&mut got, off)?;
        judge(differ(&got, want, off), what)
    }

    /// Commits the running transaction: from now on blocks that were freed may be used again.
    /// fsync of another file does not touch the pages of those in the race.
    fn commit(&self) -> Res {
        let f = sys::create(&self.t.p("committer"))?;
        f.fsync()?;
        drop(f);
        sys::unlink(&self.t.p("committer"))?;
        Ok(())
    }

    /// What was freed is committed, and another file gets the block at `place`, full of `byte`: one
    /// file after the other writes one block until one has it. On disk when this returns.
    pub fn takes_block(&self, name: &str, place: u64, byte: u8) -> Res<Arc<Fd>> {
        tracing::play(name);
        tracing::step("fsync of some file: the transaction commits");
        self.commit()?;
        let data = vec![byte; self.bs()];
        for i in 0..64 {
            let f = sys::create(&self.t.p(&format!("{name}{i}")))?;
            // Of its life only where its block is.
            self.show(&f, name, " quiet 1")?;
            tracing::step(&format!("write(2): {} to {name}; fsync", show(byte)));
            f.pwrite(&data, 0)?;
            f.fsync()?;
            if self.place(&f, 0)? == place {
                tracing::step("that is the block that was freed");
                return Ok(Arc::new(f));
            }
        }
        broken!("no file gets the block at {place}")
    }

    /// Fills the disk to the last block; `leave` bytes stay free.
    pub fn fill(&self, leave: u64) -> Res {
        let f = sys::create(&self.t.p("filler"))?;
        let bs = self.bs() as u64;
        let mut at = 0;
        let mut step = 16 << 20;
        while step >= bs {
            match f.fallocate(0, at, step) {
                Ok(()) => at += step,
                // What was taken on the way stays.
                Err(e) if e.errno == libc::ENOSPC => step /= 2,
                Err(e) => return Err(e.into()),
            }
        }
        if leave > 0 {
            f.punch(at - leave, leave)?;
        }
        f.fsync()?;
        Ok(())
    }

    /// All is written: what statfs says is free and what the file has must be all there was.
    pub fn nothing_lost(&self, f: &Fd) -> Res {
        tracing::step("asks statfs");
        let mapped: u64 = fiemap(f, 0, f.size()?, true, 16)?
            .iter()
            .map(|e| e.len)
            .sum();
        let has = mapped / self.bs() as u64;
        let free = sys::statfs(&self.t.p(""))?.f_bfree;
        if free + has != self.free.0 {
            return Err(harm(format!(
                "statfs: {free} free blocks instead of {}: a reservation is never used",
                self.free.0 - has
            )));
        }
        good("every block is accounted for");
        Ok(())
    }

    /// Files gone, all written: the counters must say what they said of the fresh image.
    pub fn counters(&self) -> Res {
        tracing::step("removes all files, syncs, asks statfs");
        for name in guest::fixture::names(&self.t.p(""))? {
            if name != "lost+found" {
                sys::unlink(&self.t.p(&name))?;
            }
        }
        sys::rdonly(&self.t.p(""))?.syncfs()?;
        // Inodes are evicted a moment later when a thread has still closed its file.
        let begun = Instant::now();
        loop {
            let st = sys::statfs(&self.t.p(""))?;
            if (st.f_bfree, st.f_ffree) == self.free {
                return Ok(());
            }
            if begun.elapsed() > EVICTED {
                return Err(harm(format!(
                    "statfs: {} free blocks instead of {}, {} free inodes instead of {}",
                    st.f_bfree, self.free.0, st.f_ffree, self.free.1
                )));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

/// An errno by its name only.
pub fn symbol(errno: i32) -> String {
    let all = sys::errname(errno);
    all.split(' ').next().unwrap_or(&all).to_string()
}

pub fn range(off: u64, len: usize) -> String {
    format!("{off}..{}", off + len as u64)
}

/// Drops the clean pages of a file that nobody maps, and makes sure that they are gone.
pub fn evict(f: &Fd) -> Res {
    let begun = Instant::now();
    // At least once: a page of which only a part is up to date does not count as resident.
    f.dontneed()?;
    while resident(f)? {
        f.dontneed()?;
        if begun.elapsed() > SOON {
            broken!("pages of {} do not leave the page cache", f.name);
        }
    }
    Ok(())
}

/// Has the page cache any page of the file?
pub fn resident(f: &Fd) -> Res<bool> {
    let len = f.size()? as usize;
    if len == 0 {
        return Ok(false);
    }
    let m = Map::new(f, 0, len, libc::PROT_NONE, libc::MAP_SHARED)?;
    let mut pages = vec![0u8; len.div_ceil(4096)];
    // SAFETY: a mapping of that length, and a byte for each of its pages.
    let r = unsafe { libc::mincore(m.addr().cast(), len, pages.as_mut_ptr()) };
    if r < 0 {
        broken!("mincore {}: {}", f.name, sys::errname(sys::errno()));
    }
    Ok(pages.iter().any(|p| p & 1 != 0))
}
