// SPDX-License-Identifier: GPL-2.0
//! Thin wrappers over system calls: every failure says which call, on what, and the errno.

pub use crate::aligned::Aligned;
use std::ffi::CString;
use std::fmt;
use std::os::fd::RawFd;

/// A failed system call.
#[derive(Debug, Clone)]
pub struct SysErr {
    pub what: String,
    pub errno: i32,
}

impl fmt::Display for SysErr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.what, errname(self.errno))
    }
}

pub type Sys<T> = Result<T, SysErr>;

/// Symbolic name of an errno, with its text.
pub fn errname(e: i32) -> String {
    let name = match e {
        libc::EUCLEAN => "EUCLEAN",
        libc::EIO => "EIO",
        libc::ENOSPC => "ENOSPC",
        libc::EINVAL => "EINVAL",
        libc::EROFS => "EROFS",
        libc::ENOENT => "ENOENT",
        libc::EEXIST => "EEXIST",
        libc::ENOTEMPTY => "ENOTEMPTY",
        libc::EOPNOTSUPP => "EOPNOTSUPP",
        libc::ENXIO => "ENXIO",
        libc::EBADMSG => "EBADMSG",
        libc::EFBIG => "EFBIG",
        libc::ENODEV => "ENODEV",
        libc::ENOTBLK => "ENOTBLK",
        libc::EBUSY => "EBUSY",
        libc::ETIMEDOUT => "ETIMEDOUT",
        _ => "",
    };
    format!("{name} ({})", std::io::Error::from_raw_os_error(e))
}

pub fn errno() -> i32 {
    std::io::Error::last_os_error().raw_os_error().unwrap_or(0)
}

/// What is freed stays with the process. Under User-Mode Linux a page that is new to a process
/// costs it more than a system call does.
pub fn keep_memory() {
    for (option, bytes) in [
        (libc::M_MMAP_THRESHOLD, 32 << 20),
        (libc::M_TRIM_THRESHOLD, i32::MAX),
    ] {
        // SAFETY: changes what malloc does from now on; nothing points into its options.
        unsafe { libc::mallopt(option, bytes) };
    }
}

/// What a system call returned; `what` it was, if it failed.
pub(crate) fn checked(r: i64, what: impl FnOnce() -> String) -> Sys<i64> {
    if r < 0 {
        let (errno, what) = (errno(), what());
        return Err(SysErr { what, errno });
    }
    Ok(r)
}

pub(crate) fn c_string(s: &str) -> CString {
    CString::new(s).unwrap_or_default()
}

/// An open file; closed on drop.
pub struct Fd {
    pub raw: RawFd,
    pub name: String,
}

impl Drop for Fd {
    fn drop(&mut self) {
        // SAFETY: we own the descriptor.
        unsafe { libc::close(self.raw) };
    }
}

pub fn open(path: &str, flags: i32, mode: u32) -> Sys<Fd> {
    let p = c_string(path);
    // SAFETY: a NUL-terminated path.
    let r = unsafe { libc::open(p.as_ptr(), flags | libc::O_CLOEXEC, mode) };
    checked(r as i64, || format!("open {path} flags {flags:#o}"))?;
    let name = path.to_string();
    Ok(Fd { raw: r, name })
}

pub fn create(path: &str) -> Sys<Fd> {
    open(path, libc::O_RDWR | libc::O_CREAT | libc::O_TRUNC, 0o644)
}

pub fn rdwr(path: &str) -> Sys<Fd> {
    open(path, libc::O_RDWR, 0)
}

pub fn rdonly(path: &str) -> Sys<Fd> {
    open(path, libc::O_RDONLY, 0)
}

pub fn direct(path: &str) -> Sys<Fd> {
    open(path, libc::O_RDWR | libc::O_CREAT | libc::O_DIRECT, 0o644)
}

impl Fd {
    pub fn pread_once(&self, buf: &mut [u8], off: u64) -> Sys<usize> {
        // SAFETY: buf is valid for its length.
        let r = unsafe { libc::pread(self.raw, buf.as_mut_ptr().cast(), buf.len(), off as i64) };
        Ok(checked(r as i64, || {
            format!("pread {} {}@{off:#x}", self.name, buf.len())
        })? as usize)
    }

    pub fn pwrite_once(&self, buf: &[u8], off: u64) -> Sys<usize> {
        // SAFETY: buf is valid for its length.
        let r = unsafe { libc::pwrite(self.raw, buf.as_ptr().cast(), buf.len(), off as i64) };
        Ok(checked(r as i64, || {
            format!("pwrite {} {}@{off:#x}", self.name, buf.len())
        })? as usize)
    }

    /// Reads up to `buf.len()` bytes, stops at the end of the file; returns the count.
    pub fn pread(&self, buf: &mut [u8], off: u64) -> Sys<usize> {
        let mut done = 0;
        while done < buf.len() {
            let n = self.pread_once(&mut buf[done..], off + done as u64)?;
            if n == 0 {
                break;
            }
            done += n;
        }
        Ok(done)
    }

    /// Writes all of `buf`.
    pub fn pwrite(&self, buf: &[u8], off: u64) -> Sys<()> {
        let mut done = 0;
        while done < buf.len() {
            let n = self.pwrite_once(&buf[done..], off + done as u64)?;
            if n == 0 {
                let what = format!("pwrite {} wrote 0", self.name);
                return Err(SysErr { what, errno: 0 });
            }
            done += n;
        }
        Ok(())
    }

    /// Write at the file position.
    pub fn write(&self, buf: &[u8]) -> Sys<usize> {
        // SAFETY: buf is valid for its length.
        let r = unsafe { libc::write(self.raw, buf.as_ptr().cast(), buf.len()) };
        Ok(checked(r as i64, || format!("write {} {}", self.name, buf.len()))? as usize)
    }

    pub fn fsync(&self) -> Sys<()> {
        // SAFETY: plain call.
        let r = unsafe { libc::fsync(self.raw) };
        checked(r as i64, || format!("fsync {}", self.name)).map(|_| ())
    }

    pub fn fdatasync(&self) -> Sys<()> {
        // SAFETY: plain call.
        let r = unsafe { libc::fdatasync(self.raw) };
        checked(r as i64, || format!("fdatasync {}", self.name)).map(|_| ())
    }

    pub fn syncfs(&self) -> Sys<()> {
        // SAFETY: plain call.
        let r = unsafe { libc::syncfs(self.raw) };
        checked(r as i64, || format!("syncfs {}", self.name)).map(|_| ())
    }

    fn sync_file_range(&self, (off, len): (u64, u64), how: u32) -> Sys<()> {
        // SAFETY: plain call.
        let r = unsafe { libc::sync_file_range(self.raw, off as i64, len as i64, how) };
        checked(r as i64, || format!("sync_file_range {}", self.name)).map(|_| ())
    }

    pub fn sync_range(&self, off: u64, len: u64) -> Sys<()> {
        self.sync_file_range((off, len), 7)
    }

    /// Starts writing, waits for nothing.
    pub fn start_writeback(&self, off: u64, len: u64) -> Sys<()> {
        self.sync_file_range((off, len), libc::SYNC_FILE_RANGE_WRITE)
    }

    /// Waits for what is on its way to the disk, starts nothing.
    pub fn await_writeback(&self, off: u64, len: u64) -> Sys<()> {
        self.sync_file_range((off, len), libc::SYNC_FILE_RANGE_WAIT_BEFORE)
    }

    /// FIFREEZE, or FITHAW.
    pub fn freeze(&self, on: bool) -> Sys<()> {
        let cmd: u32 = if on { 0xc004_5877 } else { 0xc004_5878 };
        // SAFETY: The file is open; the argument is not used.
        let r = unsafe { libc::ioctl(self.raw, cmd as _, 0) };
        checked(r as i64, || format!("freeze {} {on}", self.name)).map(|_| ())
    }

    pub fn truncate(&self, len: u64) -> Sys<()> {
        // SAFETY: plain call.
        let r = unsafe { libc::ftruncate(self.raw, len as i64) };
        checked(r as i64, || format!("ftruncate {} {len}", self.name)).map(|_| ())
    }

    pub fn fallocate(&self, mode: i32, off: u64, len: u64) -> Sys<()> {
        // SAFETY: plain call.
        let r = unsafe { libc::fallocate(self.raw, mode, off as i64, len as i64) };
        checked(r as i64, || {
            format!("fallocate {} mode {mode} {off}+{len}", self.name)
        })
        .map(|_| ())
    }

    pub fn punch(&self, off: u64, len: u64) -> Sys<()> {
        self.fallocate(
            libc::FALLOC_FL_PUNCH_HOLE | libc::FALLOC_FL_KEEP_SIZE,
            off,
            len,
        )
    }

    pub fn seek(&self, off: i64, whence: i32) -> Sys<i64> {
        // SAFETY: plain call.
        let r = unsafe { libc::lseek(self.raw, off, whence) };
        checked(r, || format!("lseek {} {off} whence {whence}", self.name))
    }

    pub fn stat(&self) -> Sys<libc::stat> {
        // SAFETY: stat is plain old data.
        let mut st: libc::stat = unsafe { std::mem::zeroed() };
        // SAFETY: st is valid.
        let r = unsafe { libc::fstat(self.raw, &mut st) };
        checked(r as i64, || format!("fstat {}", self.name))?;
        Ok(st)
    }

    pub fn size(&self) -> Sys<u64> {
        Ok(self.stat()?.st_size as u64)
    }

    /// posix_fadvise(DONTNEED) of the whole file.
    pub fn dontneed(&self) -> Sys<()> {
        self.advise(libc::POSIX_FADV_DONTNEED)
    }

    /// posix_fadvise of the whole file.
    pub fn advise(&self, advice: i32) -> Sys<()> {
        // SAFETY: plain call.
        let r = unsafe { libc::posix_fadvise(self.raw, 0, 0, advice) };
        if r != 0 {
            return Err(SysErr {
                what: format!("fadvise {}", self.name),
                errno: r,
            });
        }
        Ok(())
    }

    /// # Safety
    /// `arg` must be what ioctl `cmd` expects.
    pub unsafe fn ioctl<T>(&self, cmd: u64, arg: *mut T) -> Sys<i64> {
        // SAFETY: the caller vouches for the argument.
        let r = unsafe { libc::ioctl(self.raw, cmd as _, arg) };
        checked(r as i64, || format!("ioctl {:#x} {}", cmd, self.name))
    }

    pub fn futimens(&self, at: (i64, i64), mt: (i64, i64)) -> Sys<()> {
        let ts = times(at, mt);
        // SAFETY: two timespecs.
        let r = unsafe { libc::futimens(self.raw, ts.as_ptr()) };
        checked(r as i64, || format!("futimens {}", self.name)).map(|_| ())
    }

    pub fn dup(&self) -> Sys<Fd> {
        // SAFETY: plain call.
        let r = unsafe { libc::fcntl(self.raw, libc::F_DUPFD_CLOEXEC, 3) };
        let raw = checked(r as i64, || format!("dup {}", self.name))? as i32;
        Ok(Fd {
            raw,
            name: self.name.clone(),
        })
    }
}

fn times(at: (i64, i64), mt: (i64, i64)) -> [libc::timespec; 2] {
    [
        libc::timespec {
            tv_sec: at.0,
            tv_nsec: at.1,
        },
        libc::timespec {
            tv_sec: mt.0,
            tv_nsec: mt.1,
        },
    ]
}

macro_rules! path_call {
    ($name:ident, $libc:ident $(, $arg:ident : $ty:ty)*) => {
        pub fn $name(path: &str $(, $arg: $ty)*) -> Sys<()> {
            let p = c_string(path);
            // SAFETY: a NUL-terminated path and plain numbers.
            let r = unsafe { libc::$libc(p.as_ptr() $(, $arg)*) };
            checked(r as i64, || format!(concat!(stringify!($libc), " {}"), path)).map(|_| ())
        }
    };
}

path_call!(mkdir, mkdir, mode: u32);
path_call!(rmdir, rmdir);
path_call!(unlink, unlink);
path_call!(chmod, chmod, mode: u32);
path_call!(lchown, lchown, uid: u32, gid: u32);
path_call!(mknod, mknod, mode: u32, dev: u64);

pub fn truncate(path: &str, len: u64) -> Sys<()> {
    let p = c_string(path);
    // SAFETY: a NUL-terminated path.
    let r = unsafe { libc::truncate(p.as_ptr(), len as i64) };
    checked(r as i64, || format!("truncate {path} {len}")).map(|_| ())
}

macro_rules! two_paths {
    ($name:ident) => {
        pub fn $name(a: &str, b: &str) -> Sys<()> {
            let (x, y) = (c_string(a), c_string(b));
            // SAFETY: NUL-terminated paths.
            let r = unsafe { libc::$name(x.as_ptr(), y.as_ptr()) };
            checked(r as i64, || {
                format!(concat!(stringify!($name), " {} {}"), short(a), short(b))
            })
            .map(|_| ())
        }
    };
}

fn short(s: &str) -> &str {
    s.get(..80).unwrap_or(s)
}

two_paths!(link);
two_paths!(symlink);
two_paths!(rename);

pub const NOREPLACE: u32 = libc::RENAME_NOREPLACE;
pub const EXCHANGE: u32 = libc::RENAME_EXCHANGE;
pub const WHITEOUT: u32 = libc::RENAME_WHITEOUT;

pub fn rename2(a: &str, b: &str, flags: u32) -> Sys<()> {
    let (x, y) = (c_string(a), c_string(b));
    // SAFETY: NUL-terminated paths.
    let r = unsafe {
        libc::syscall(
            libc::SYS_renameat2,
            libc::AT_FDCWD,
            x.as_ptr(),
            libc::AT_FDCWD,
            y.as_ptr(),
            flags,
        )
    };
    checked(r, || format!("renameat2 {a} {b} flags {flags}")).map(|_| ())
}

/// Makes a name for an O_TMPFILE (or otherwise unlinked) file.
pub fn link_fd(fd: &Fd, b: &str) -> Sys<()> {
    let opened = format!("/proc/self/fd/{}", fd.raw);
    let (x, y) = (c_string(&opened), c_string(b));
    // SAFETY: NUL-terminated paths.
    let r = unsafe {
        libc::linkat(
            libc::AT_FDCWD,
            x.as_ptr(),
            libc::AT_FDCWD,
            y.as_ptr(),
            libc::AT_SYMLINK_FOLLOW,
        )
    };
    checked(r as i64, || format!("linkat fd {b}")).map(|_| ())
}

pub fn readlink(path: &str) -> Sys<Vec<u8>> {
    let p = c_string(path);
    let mut buf = vec![0u8; 8192];
    // SAFETY: buf is valid for its length.
    let r = unsafe { libc::readlink(p.as_ptr(), buf.as_mut_ptr().cast(), buf.len()) };
    let n = checked(r as i64, || format!("readlink {path}"))?;
    buf.truncate(n as usize);
    Ok(buf)
}

pub fn lstat(path: &str) -> Sys<libc::stat> {
    let p = c_string(path);
    // SAFETY: stat is plain old data.
    let mut st: libc::stat = unsafe { std::mem::zeroed() };
    // SAFETY: valid path and buffer.
    let r = unsafe { libc::lstat(p.as_ptr(), &mut st) };
    checked(r as i64, || format!("lstat {path}"))?;
    Ok(st)
}

pub fn exists(path: &str) -> bool {
    lstat(path).is_ok()
}

pub fn statx(path: &str) -> Sys<libc::statx> {
    let p = c_string(path);
    // SAFETY: statx is plain old data.
    let mut st: libc::statx = unsafe { std::mem::zeroed() };
    // SAFETY: valid path and buffer.
    let r = unsafe {
        libc::statx(
            libc::AT_FDCWD,
            p.as_ptr(),
            libc::AT_SYMLINK_NOFOLLOW,
            0x1fff,
            &mut st,
        )
    };
    checked(r as i64, || format!("statx {path}"))?;
    Ok(st)
}

pub fn statfs(path: &str) -> Sys<libc::statfs> {
    let p = c_string(path);
    // SAFETY: statfs is plain old data.
    let mut st: libc::statfs = unsafe { std::mem::zeroed() };
    // SAFETY: valid path and buffer.
    let r = unsafe { libc::statfs(p.as_ptr(), &mut st) };
    checked(r as i64, || format!("statfs {path}"))?;
    Ok(st)
}

/// utimensat without following a symlink; (seconds, nanoseconds).
pub fn utimens(path: &str, at: (i64, i64), mt: (i64, i64)) -> Sys<()> {
    let p = c_string(path);
    let ts = times(at, mt);
    // SAFETY: valid path, two timespecs.
    let r = unsafe {
        libc::utimensat(
            libc::AT_FDCWD,
            p.as_ptr(),
            ts.as_ptr(),
            libc::AT_SYMLINK_NOFOLLOW,
        )
    };
    checked(r as i64, || format!("utimensat {path}")).map(|_| ())
}

pub fn mount(dev: &str, dir: &str, fs: &str, flags: u64, data: &str) -> Sys<()> {
    let (d, m, f, o) = (c_string(dev), c_string(dir), c_string(fs), c_string(data));
    // SAFETY: NUL-terminated strings.
    let r = unsafe {
        libc::mount(
            d.as_ptr(),
            m.as_ptr(),
            f.as_ptr(),
            flags as _,
            o.as_ptr().cast(),
        )
    };
    checked(r as i64, || {
        format!("mount -t {fs} -o '{data}' {dev} {dir}")
    })
    .map(|_| ())
}

pub fn umount(dir: &str, flags: i32) -> Sys<()> {
    let m = c_string(dir);
    // SAFETY: NUL-terminated string.
    let r = unsafe { libc::umount2(m.as_ptr(), flags) };
    checked(r as i64, || format!("umount {dir}")).map(|_| ())
}

pub fn sync() {
    // SAFETY: plain call.
    unsafe { libc::sync() };
}

pub fn write_file(path: &str, text: &str) -> Sys<()> {
    std::fs::write(path, text).map_err(|e| SysErr {
        what: format!("write {path}"),
        errno: e.raw_os_error().unwrap_or(0),
    })
}
