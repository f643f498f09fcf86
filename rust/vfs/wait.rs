// SPDX-License-Identifier: GPL-2.0

//! Wait queues whose sleepers can be killed, and woken from any context.
//!
//! C header: [`include/linux/wait.h`](srctree/include/linux/wait.h)

use super::bindings;
use core::{marker::PhantomPinned, ptr};
use kernel::{
    error::code::*,
    prelude::*,
    sync::LockClassKey,
    task::MAX_SCHEDULE_TIMEOUT,
    time::{msecs_to_jiffies, Msecs},
    types::Opaque, //
};

/// A `wait_queue_head_t`. Made by [`new_wait_queue!`].
#[pin_data]
pub(crate) struct WaitQueue {
    #[pin]
    head: Opaque<bindings::wait_queue_head>,
    #[pin]
    _pin: PhantomPinned,
}

// SAFETY: A wait queue has a lock of its own and may be used by any thread.
unsafe impl Send for WaitQueue {}
// SAFETY: As above.
unsafe impl Sync for WaitQueue {}

/// A [`WaitQueue`] initialiser with its own lock class and its name.
macro_rules! new_wait_queue {
    ($name:literal) => {
        $crate::vfs::wait::WaitQueue::new(
            ::kernel::optional_name!($name),
            ::kernel::static_lock_class!(),
        )
    };
}
pub(crate) use new_wait_queue;

impl WaitQueue {
    /// What [`new_wait_queue!`] expands to.
    pub(crate) fn new(name: &'static CStr, key: Pin<&'static LockClassKey>) -> impl PinInit<Self> {
        pin_init!(Self {
            // SAFETY: The slot is valid during the call; name and key live for ever.
            head <- Opaque::ffi_init(|slot| unsafe {
                bindings::__init_waitqueue_head(slot, name.as_char_ptr(), key.as_ptr())
            }),
            _pin: PhantomPinned,
        })
    }

    /// Sleeps until `done` answers true (`EINTR`: the task is being killed). `done` must not
    /// sleep; it is asked again after each wake-up.
    pub(crate) fn wait_killable(&self, done: impl FnMut() -> bool) -> Result {
        self.wait(MAX_SCHEDULE_TIMEOUT, done).map(|_| ())
    }

    /// As [`WaitQueue::wait_killable`], for a limited time. Whether `done` has answered true.
    pub(crate) fn wait_killable_for(&self, ms: Msecs, done: impl FnMut() -> bool) -> Result<bool> {
        self.wait(msecs_to_jiffies(ms) as c_long, done)
    }

    fn wait(&self, mut left: c_long, mut done: impl FnMut() -> bool) -> Result<bool> {
        let entry = Opaque::<bindings::wait_queue_entry>::uninit();
        // SAFETY: The memory is ours. The entry stays on the stack until `finish_wait` below.
        unsafe { bindings::init_wait_entry(entry.get(), 0) };
        let result = loop {
            // SAFETY: Both are valid. The task is on the queue before `done` looks, so a wake-up
            // after the look is not lost; a killed task is taken off the queue instead.
            let killed = unsafe {
                bindings::prepare_to_wait_event(
                    self.head.get(),
                    entry.get(),
                    bindings::TASK_KILLABLE as c_int,
                )
            };
            if done() {
                break Ok(true);
            }
            if killed != 0 {
                break Err(EINTR);
            }
            if left == 0 {
                break Ok(false);
            }
            // SAFETY: Gives up the CPU; the caller may sleep, as this function says it does.
            left = unsafe { bindings::schedule_timeout(left) };
        };
        // SAFETY: Both are valid; takes the entry off the queue if it still is on it.
        unsafe { bindings::finish_wait(self.head.get(), entry.get()) };
        result
    }

    /// Wakes all sleepers. Callable from any context.
    pub(crate) fn wake_all(&self) {
        // SAFETY: The queue is valid; the C function saves the interrupt state. 0 wakes all.
        unsafe {
            bindings::__wake_up(
                self.head.get(),
                bindings::TASK_NORMAL as c_uint,
                0,
                ptr::null_mut(),
            );
        }
    }
}
