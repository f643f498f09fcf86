// SPDX-License-Identifier: GPL-2.0
//! Memory mappings, and SIGBUS turned into a count.
//!
//! A fault that cannot be served (no space, beyond EOF, I/O error) raises SIGBUS. The handler maps
//! an anonymous page over the address and counts: the access goes on, and the test looks at the
//! count. No fork is needed.

use crate::sys::{errno, Fd, Sys, SysErr};
use std::sync::atomic::{AtomicUsize, Ordering};

static SIGBUS: AtomicUsize = AtomicUsize::new(0);

extern "C" fn on_sigbus(_sig: i32, info: *mut libc::siginfo_t, _ctx: *mut libc::c_void) {
    // SAFETY: the kernel passes a valid siginfo for SIGBUS.
    let addr = unsafe { (*info).si_addr() } as usize & !4095;
    // SAFETY: replaces the page that faulted, which belongs to a mapping of ours.
    let p = unsafe {
        libc::mmap(
            addr as *mut _,
            4096,
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED,
            -1,
            0,
        )
    };
    if p == libc::MAP_FAILED {
        // SAFETY: nothing else is left to do.
        unsafe { libc::_exit(86) };
    }
    SIGBUS.fetch_add(1, Ordering::SeqCst);
}

/// Installs the handler, once per process.
pub fn install_sigbus() {
    // SAFETY: the handler only calls mmap and touches an atomic.
    unsafe {
        let mut sa: libc::sigaction = std::mem::zeroed();
        sa.sa_sigaction = on_sigbus as *const () as usize;
        sa.sa_flags = libc::SA_SIGINFO;
        libc::sigaction(libc::SIGBUS, &sa, std::ptr::null_mut());
    }
}

/// What the process has mapped by now is read in, and stays.
pub fn lock_all() -> Sys<()> {
    // SAFETY: plain call.
    match unsafe { libc::mlockall(libc::MCL_CURRENT) } {
        0 => Ok(()),
        _ => Err(SysErr {
            what: "mlockall".to_string(),
            errno: errno(),
        }),
    }
}

/// The number of SIGBUS since the last call.
pub fn sigbus_taken() -> usize {
    SIGBUS.swap(0, Ordering::SeqCst)
}

/// A shared or private mapping of a file; bytes are read and written volatile.
pub struct Map {
    ptr: *mut u8,
    pub len: usize,
}

// SAFETY: raw memory, accessed through volatile loads and stores only.
unsafe impl Send for Map {}
// SAFETY: as above.
unsafe impl Sync for Map {}

impl Map {
    pub fn new(f: &Fd, off: u64, len: usize, prot: i32, flags: i32) -> Sys<Map> {
        // SAFETY: a new mapping at an address the kernel picks.
        let p = unsafe { libc::mmap(std::ptr::null_mut(), len, prot, flags, f.raw, off as i64) };
        if p == libc::MAP_FAILED {
            return Err(SysErr {
                what: format!("mmap {} {len}@{off}", f.name),
                errno: errno(),
            });
        }
        Ok(Map { ptr: p.cast(), len })
    }

    pub fn shared(f: &Fd, len: usize) -> Sys<Map> {
        Map::new(
            f,
            0,
            len,
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_SHARED,
        )
    }

    /// Memory of no file.
    pub fn anonymous(len: usize) -> Sys<Map> {
        let zeros = crate::sys::rdwr("/dev/zero")?;
        let prot = libc::PROT_READ | libc::PROT_WRITE;
        Map::new(&zeros, 0, len, prot, libc::MAP_PRIVATE)
    }

    /// As `shared`, at a multiple of `len`, a power of two: where a huge page may be.
    pub fn huge(f: &Fd, len: usize) -> Sys<Map> {
        let (none, anon) = (libc::PROT_NONE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
        // SAFETY: a new mapping at an address the kernel picks.
        let room = unsafe { libc::mmap(std::ptr::null_mut(), 2 * len, none, anon, -1, 0) };
        let failed = || SysErr {
            what: format!("mmap {} {len}", f.name),
            errno: errno(),
        };
        if room == libc::MAP_FAILED {
            return Err(failed());
        }
        // SAFETY: over a part of that mapping; its rest stays to the end of the process.
        let p = unsafe {
            libc::mmap(
                room.cast::<u8>()
                    .map_addr(|a| a.next_multiple_of(len))
                    .cast(),
                len,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_SHARED | libc::MAP_FIXED,
                f.raw,
                0,
            )
        };
        if p == libc::MAP_FAILED {
            return Err(failed());
        }
        Ok(Map { ptr: p.cast(), len })
    }

    pub fn get(&self, i: usize) -> u8 {
        assert!(i < self.len);
        // SAFETY: inside the mapping.
        unsafe { self.ptr.add(i).read_volatile() }
    }

    pub fn set(&self, i: usize, v: u8) {
        assert!(i < self.len);
        // SAFETY: inside the mapping.
        unsafe { self.ptr.add(i).write_volatile(v) }
    }

    /// As [`Map::read`] from the start, into memory that is there.
    pub fn read_into(&self, bytes: &mut [u8]) {
        assert!(bytes.len() <= self.len);
        // SAFETY: inside the mapping.
        unsafe { std::ptr::copy_nonoverlapping(self.ptr, bytes.as_mut_ptr(), bytes.len()) };
    }

    pub fn read(&self, off: usize, len: usize) -> Vec<u8> {
        assert!(off + len <= self.len);
        let mut v = vec![0u8; len];
        // SAFETY: inside the mapping.
        unsafe { std::ptr::copy_nonoverlapping(self.ptr.add(off), v.as_mut_ptr(), len) };
        v
    }

    pub fn write(&self, off: usize, data: &[u8]) {
        assert!(off + data.len() <= self.len);
        // SAFETY: inside the mapping.
        unsafe { std::ptr::copy_nonoverlapping(data.as_ptr(), self.ptr.add(off), data.len()) };
    }

    pub fn msync(&self) -> Sys<()> {
        // SAFETY: our own mapping.
        if unsafe { libc::msync(self.ptr.cast(), self.len, libc::MS_SYNC) } < 0 {
            return Err(SysErr {
                what: "msync".into(),
                errno: errno(),
            });
        }
        Ok(())
    }

    /// Makes huge folios of what is mapped, now.
    pub fn collapse(&self) -> Sys<()> {
        const MADV_COLLAPSE: i32 = 25;
        // SAFETY: our own mapping.
        if unsafe { libc::madvise(self.ptr.cast(), self.len, MADV_COLLAPSE) } < 0 {
            return Err(SysErr {
                what: "madvise(MADV_COLLAPSE)".into(),
                errno: errno(),
            });
        }
        Ok(())
    }

    /// Reclaims what is mapped, now: anonymous pages go to swap.
    pub fn page_out(&self) -> Sys<()> {
        // SAFETY: our own mapping.
        if unsafe { libc::madvise(self.ptr.cast(), self.len, libc::MADV_PAGEOUT) } < 0 {
            return Err(SysErr {
                what: "madvise(MADV_PAGEOUT)".into(),
                errno: errno(),
            });
        }
        Ok(())
    }

    pub fn addr(&self) -> *mut u8 {
        self.ptr
    }

    /// The mapped bytes as a buffer for a system call; only the kernel looks at them.
    pub fn as_slice(&self, off: usize, len: usize) -> &[u8] {
        assert!(off + len <= self.len);
        // SAFETY: inside the mapping; passed to system calls only.
        unsafe { std::slice::from_raw_parts(self.ptr.add(off), len) }
    }

    #[allow(clippy::mut_from_ref)]
    pub fn as_mut_slice(&self, off: usize, len: usize) -> &mut [u8] {
        assert!(off + len <= self.len);
        // SAFETY: inside the mapping; passed to system calls only.
        unsafe { std::slice::from_raw_parts_mut(self.ptr.add(off), len) }
    }
}

impl Drop for Map {
    fn drop(&mut self) {
        // SAFETY: our own mapping.
        unsafe { libc::munmap(self.ptr.cast(), self.len) };
    }
}
