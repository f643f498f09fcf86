// SPDX-License-Identifier: GPL-2.0

//! Scopes in which memory reclaim may not call back into file systems.
//!
//! Reclaim may evict an inode, which starts a journal handle and takes locks of ours. Whoever
//! allocates while holding a lock that a handle holder may want must therefore allocate without
//! `__GFP_FS`. jbd2 sees to it inside a handle; outside of one it is the lock's business.
//!
//! C header: [`include/linux/sched/mm.h`](srctree/include/linux/sched/mm.h)

use super::bindings;
use kernel::{
    prelude::*,
    sync::{
        lock::{Backend, Guard, Lock},
        LockClassKey, //
    },
    types::NotThreadSafe, //
};

/// While this lives, allocations of the current task are `GFP_NOFS` (`memalloc_nofs_save()`).
/// Scopes may nest, also with journal handles; the outermost has to end last, else the rest of the
/// inner ones runs without.
pub(crate) struct NoFs {
    flags: u32,
    _not_send: NotThreadSafe,
}

impl NoFs {
    /// Begins a scope.
    #[must_use = "the scope ends when the value is dropped"]
    pub(crate) fn enter() -> Self {
        Self {
            // SAFETY: Sets a flag of the current task.
            flags: unsafe { bindings::memalloc_nofs_save() },
            _not_send: NotThreadSafe,
        }
    }
}

impl Drop for NoFs {
    fn drop(&mut self) {
        // SAFETY: Same task (not `Send`), and `flags` came from `memalloc_nofs_save()`.
        unsafe { bindings::memalloc_nofs_restore(self.flags) }
    }
}

/// The kernel's mutex, held in a [`NoFs`] scope.
pub(crate) struct NoFsMutexBackend;

/// A mutex under which reclaim does not enter file systems. Made by [`new_nofs_mutex!`].
pub(crate) type NoFsMutex<T> = Lock<T, NoFsMutexBackend>;

/// A locked [`NoFsMutex`].
pub(crate) type NoFsMutexGuard<'a, T> = Guard<'a, T, NoFsMutexBackend>;

/// A [`NoFsMutex`] initialiser with its own lock class; the name of the class is optional.
macro_rules! new_nofs_mutex {
    ($inner:expr $(, $name:literal)? $(,)?) => {
        $crate::vfs::nofs::new_mutex(
            $inner,
            ::kernel::optional_name!($($name)?),
            ::kernel::static_lock_class!(),
        )
    };
}
pub(crate) use new_nofs_mutex;

/// What [`new_nofs_mutex!`] expands to.
pub(crate) fn new_mutex<T>(
    value: impl PinInit<T>,
    name: &'static CStr,
    key: Pin<&'static LockClassKey>,
) -> impl PinInit<NoFsMutex<T>> {
    NoFsMutex::new(value, name, key)
}

/// Takes a second mutex of a class, inside the first. Whoever takes two takes them in the same
/// order: lockdep does not see it if they do not.
pub(crate) fn lock_second<T>(lock: &NoFsMutex<T>) -> NoFsMutexGuard<'_, T> {
    let mutex: *const NoFsMutex<T> = lock;
    // SAFETY: The C mutex is the first field of a `Lock`, which is `repr(C)`, and was initialised
    // with it.
    unsafe { bindings::mutex_lock_second(mutex.cast_mut().cast()) };
    // SAFETY: It was just locked.
    unsafe { NoFsMutexGuard::new(lock, NoFs::enter()) }
}

/// Runs `f` without the lock of `guard`, which is taken again after it.
#[cfg(VFS_TEST_HOOKS)]
pub(crate) fn unlocked<T>(guard: &mut NoFsMutexGuard<'_, T>, f: impl FnOnce()) {
    let lock = guard.lock_ref();
    // SAFETY: The place of the guard is empty until `write`. Nobody can look there meanwhile: it is
    // borrowed, and nothing unwinds in the kernel.
    unsafe {
        drop(core::ptr::read(guard));
        f();
        core::ptr::write(guard, lock.lock());
    }
}

// SAFETY: Mutual exclusion is that of `struct mutex`, which `lock` and `relock` both take.
unsafe impl Backend for NoFsMutexBackend {
    type State = bindings::mutex;
    type GuardState = NoFs;

    unsafe fn init(
        ptr: *mut Self::State,
        name: *const kernel::ffi::c_char,
        key: *mut bindings::lock_class_key,
    ) {
        // SAFETY: Per the contract of this function: `ptr` may be written, the others live on.
        unsafe { bindings::__mutex_init(ptr, name, key) }
    }

    unsafe fn lock(ptr: *mut Self::State) -> NoFs {
        // SAFETY: Per the contract of this function the mutex is initialised.
        unsafe { bindings::mutex_lock(ptr) };
        NoFs::enter()
    }

    unsafe fn try_lock(ptr: *mut Self::State) -> Option<NoFs> {
        // SAFETY: Per the contract of this function the mutex is initialised.
        (unsafe { bindings::mutex_trylock(ptr) } != 0).then(NoFs::enter)
    }

    unsafe fn unlock(ptr: *mut Self::State, _scope: &NoFs) {
        // The guard drops its scope right after this.
        // SAFETY: Per the contract of this function the caller owns the mutex.
        unsafe { bindings::mutex_unlock(ptr) };
    }

    unsafe fn relock(ptr: *mut Self::State, _scope: &mut NoFs) {
        // The scope goes on while the lock is dropped (to wait for a condition): a new one would
        // begin inside of it and lose its effect when the old one is dropped.
        // SAFETY: Per the contract of this function the mutex is initialised.
        unsafe { bindings::mutex_lock(ptr) };
    }

    unsafe fn assert_is_held(ptr: *mut Self::State) {
        // SAFETY: Per the contract of this function the mutex is initialised.
        unsafe { bindings::mutex_assert_is_held(ptr) }
    }
}
