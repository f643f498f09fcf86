// SPDX-License-Identifier: GPL-2.0
//! Memory whose second half is on a device that answers when it is told to. A write(2) from there
//! has its mapping and no folio locked while it waits for its bytes.

use crate::dm::{self, Dm};
use crate::fixture::T;
use crate::harness::Res;
use crate::sys::{self, Fd};

/// Bytes of each half: a page.
pub const HALF: usize = 4096;
/// Where the second half is on the device: not where udev's probes look.
const AT: u64 = 512 << 10;
const MIB: u64 = 1;

/// The memory.
pub struct SlowMemory {
    dm: Dm,
    addr: usize,
}

impl SlowMemory {
    /// Memory with these bytes, of which the second half is silent from now on.
    pub fn new(t: &mut T, first: &[u8], second: &[u8]) -> Res<SlowMemory> {
        let whole = sys::rdwr(&t.disks[1])?;
        whole.pwrite(second, AT)?;
        whole.fsync()?;
        let dm = dm::start("slow", &[dm::linear(&t.disks[1], 0, MIB)])?;
        t.dms.push(dm.clone());
        let fd = sys::rdonly(&dm.path)?;
        fd.dontneed()?;
        let (read, both) = (libc::PROT_READ, libc::PROT_READ | libc::PROT_WRITE);
        let anon = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
        let fixed = libc::MAP_SHARED | libc::MAP_FIXED;
        // SAFETY: A new mapping of two pages; the second is replaced, the first is written to.
        let (start, place) = unsafe {
            let start = libc::mmap(std::ptr::null_mut(), 2 * HALF, both, anon, -1, 0).cast::<u8>();
            let second = start.add(HALF);
            let place = libc::mmap(second.cast(), HALF, read, fixed, fd.raw, AT as i64);
            start.copy_from(first.as_ptr(), first.len().min(HALF));
            (start, place)
        };
        assert_ne!(place, libc::MAP_FAILED, "mmap of {}", dm.path);
        dm.suspend()?;
        let addr = start as usize;
        Ok(SlowMemory { dm, addr })
    }

    /// `pwrite` of so many bytes from byte `from` of the memory.
    pub fn pwrite(&self, f: &Fd, from: usize, len: usize, off: u64) -> Result<usize, i32> {
        let memory = (self.addr + from) as *const libc::c_void;
        // SAFETY: The memory is mapped; where it cannot be read the kernel says so.
        let n = unsafe { libc::pwrite(f.raw, memory, len, off as i64) };
        usize::try_from(n).map_err(|_| sys::errno())
    }

    /// The device answers.
    pub fn deliver(&self) -> Res {
        Ok(self.dm.resume()?)
    }

    /// The device fails.
    pub fn fail(&self) -> Res {
        self.dm.load(&[(0, MIB * 2048, "error", String::new())])?;
        Ok(self.dm.resume()?)
    }
}

impl Drop for SlowMemory {
    fn drop(&mut self) {
        // SAFETY: The mapping is ours, and nobody has a reference into it.
        unsafe { libc::munmap(self.addr as *mut libc::c_void, 2 * HALF) };
    }
}
