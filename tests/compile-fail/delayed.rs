// SPDX-License-Identifier: GPL-2.0
//! The timer of a delayed work fires when its queue may be gone: who destroys a queue waits for
//! what is queued, and this is not yet. So a queue that goes takes none.
#![forbid(unsafe_code)]

use crate::vfs::{super_block::FileSystem, work::Workqueue, SuperBlock};
use kernel::workqueue::{self, Queue, RawDelayedWorkItem};

fn stays<W: RawDelayedWorkItem<0> + Send + 'static>(work: W) {
    let _ = workqueue::system().enqueue_delayed(work, 1);
}

#[cfg(misuse = "delayed")]
fn delayed<W: RawDelayedWorkItem<0> + Send + 'static>(queue: &Workqueue, work: W) {
    let _ = queue.enqueue_delayed(work, 1); //~ E0599
}

#[cfg(misuse = "as_another")]
fn as_another(queue: &Workqueue) -> &Queue {
    queue //~ E0308
}

#[cfg(misuse = "of_a_mount")]
fn of_a_mount<F: FileSystem>(sb: &SuperBlock<F>) {
    let _ = sb.queue(); //~ E0624
}

#[cfg(misuse = "made")]
fn made() -> Option<Workqueue> {
    Workqueue::new(c"a", c"b").ok() //~ E0624
}
