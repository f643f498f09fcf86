// SPDX-License-Identifier: GPL-2.0
//! Buffers for direct I/O.

/// Memory aligned for direct I/O.
pub struct Aligned {
    ptr: *mut u8,
    len: usize,
}

// SAFETY: plain owned memory; shared references only read it.
unsafe impl Sync for Aligned {}
// SAFETY: as above.
unsafe impl Send for Aligned {}

impl Aligned {
    pub fn new(len: usize) -> Aligned {
        let layout = std::alloc::Layout::from_size_align(len.max(1), 4096).expect("layout");
        // SAFETY: the size is not zero.
        let ptr = unsafe { std::alloc::alloc_zeroed(layout) };
        Aligned { ptr, len }
    }

    pub fn of(data: &[u8]) -> Aligned {
        let mut a = Aligned::new(data.len());
        a.copy_from_slice(data);
        a
    }
}

impl Drop for Aligned {
    fn drop(&mut self) {
        let layout = std::alloc::Layout::from_size_align(self.len.max(1), 4096).expect("layout");
        // SAFETY: allocated with this layout.
        unsafe { std::alloc::dealloc(self.ptr, layout) };
    }
}

impl std::ops::Deref for Aligned {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        // SAFETY: owned, initialised.
        unsafe { std::slice::from_raw_parts(self.ptr, self.len) }
    }
}

impl std::ops::DerefMut for Aligned {
    fn deref_mut(&mut self) -> &mut [u8] {
        // SAFETY: owned, initialised.
        unsafe { std::slice::from_raw_parts_mut(self.ptr, self.len) }
    }
}
