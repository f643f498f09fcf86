// SPDX-License-Identifier: GPL-2.0
//! What a program may have, for it is promised; what else is drawn becomes something like it.

use crate::op::Verb;
use crate::program::{Image, Program};

/// Without the gate nothing is promised of pages that become dirty while they are written directly.
/// A direct write that is waited for keeps others from write(2), but not from a mapping.
///
/// Nor is anything unwritten in a block map, and nothing moves. With DAX there are no pages beside
/// the blocks; MAP_SYNC is nowhere else. What needs a file of its own that has blocks cannot be
/// had on a full disk.
pub fn promised(mut program: Program) -> Program {
    let Image { dax, tight, .. } = program.image;
    for op in program.threads.iter_mut().flatten() {
        op.verb = match op.verb {
            Verb::SyncStore if !dax => Verb::Store,
            Verb::ReadInto if tight => Verb::Deliver,
            // It is refused, always.
            Verb::MoveExtents if dax => Verb::Punch,
            verb => verb,
        };
    }
    if program.image.maps {
        program.start = program.start.on_maps();
        for op in program.threads.iter_mut().flatten() {
            if op.verb.wants_extents() {
                op.verb = Verb::Punch;
            }
        }
    }
    if program.image.gate || dax {
        return program;
    }
    let has = |verbs: &[Verb]| {
        let mut all = program.threads.iter().flatten();
        all.any(|op| verbs.contains(&op.verb))
    };
    use Verb::*;
    let direct = has(&[DirectWrite, AsyncWrite, RingDirectWrite, OwnWrite]);
    let dirties = has(&[BufferedWrite, HalfWrite, Store, Deliver, ReadInto, RingWrite]);
    for op in program.threads.iter_mut().flatten() {
        op.verb = match op.verb {
            Store | Deliver | ReadInto if direct => BufferedWrite,
            AsyncWrite | RingDirectWrite if dirties => DirectWrite,
            verb => verb,
        };
    }
    program
}
