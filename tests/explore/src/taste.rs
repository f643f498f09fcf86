// SPDX-License-Identifier: GPL-2.0
//! What is drawn more often than other things, and what goes together: where all of it is drawn
//! alike what a race needs seldom comes together.

use crate::op::Verb;
use crate::program::{Image, Start, PAGE};

/// Bytes become others, or have blocks where they had none.
const CHANGES: &[Verb] = &[
    Verb::BufferedWrite,
    Verb::Store,
    Verb::DirectWrite,
    Verb::Allocate,
];
/// What is dirty is written, and perhaps dropped.
const CLEANS: &[Verb] = &[Verb::Evict, Verb::SyncRange, Verb::Fsync];
/// Blocks go.
const REMOVES: &[Verb] = &[
    Verb::Punch,
    Verb::Truncate,
    Verb::CollapseRange,
    Verb::Zero,
    Verb::OpenEmpty,
];
/// A page is filled, or found.
const LOOKS: &[Verb] = &[Verb::BufferedRead, Verb::Load];

/// Two operations of one thread on the same bytes, one of each: they do together what none of them
/// does alone.
pub struct Chain(pub &'static [Verb], pub &'static [Verb]);

/// What is there is written, and the page goes: who has looked at either before knows neither.
const WRITTEN: Chain = Chain(CHANGES, CLEANS);
/// A block goes, and another one comes: who has looked before knows the old one.
const REPLACED: Chain = Chain(REMOVES, CHANGES);
/// A page is filled, and is found later.
const FOUND: Chain = Chain(LOOKS, LOOKS);
/// What is clean goes, or becomes dirty in part: whoever stores into it later counts on neither.
const CLEAN_FIRST: Chain = Chain(CLEANS, REMOVES);
const DIRTY_AGAIN: Chain = Chain(CLEANS, CHANGES);

/// Which of them come in between the steps of another one, and how often.
pub fn chains(victim: Verb) -> [(Chain, u32); 5] {
    let often = match victim {
        v if v.pins() => [1, 1, 1, 4, 4],
        v if v.shifts() || v.asks() => [6, 1, 1, 1, 1],
        v if v.is_direct_write() => [1, 1, 6, 1, 1],
        v if CLEANS.contains(&v) => [1, 6, 1, 1, 1],
        _ => [2, 2, 1, 1, 1],
    };
    let [written, replaced, found, clean_first, dirty_again] = often;
    [
        (WRITTEN, written),
        (REPLACED, replaced),
        (FOUND, found),
        (CLEAN_FIRST, clean_first),
        (DIRTY_AGAIN, dirty_again),
    ]
}

/// What it is about it had better have made before.
pub fn needs_data(verb: Verb) -> bool {
    CLEANS.contains(&verb)
}

/// Is it one of those that change bytes?
pub fn changes(verb: Verb) -> bool {
    CHANGES.contains(&verb)
}

/// How often one stops at its points: what acts upon what it has looked up. On a disk that is
/// almost full what was promised must come true, which is when it is written.
pub fn stops(image: Image, verb: Verb) -> u32 {
    use Verb::*;
    let often = match verb {
        Deliver => 4,
        Pin => 8,
        // They come with what they end.
        Bring | Thaw => 0,
        Fsync | BufferedWrite | DirectWrite | AsyncWrite => 6,
        AppendDirect => 5,
        AppendWrite | DurableWrite | DurableDirect => 3,
        SeekData | InsertRange => 6,
        OwnWrite | Store | SyncStore | ReadInto | SyncRange => 4,
        Truncate | OpenEmpty | Punch | Load | BufferedRead | CollapseRange => 3,
        HalfWrite | DirectRead | SeekHole | RingWrite | RingDirectWrite => 2,
        SoonWrite | SoonDirect => 2,
        _ => 1,
    };
    match image.tight && CLEANS.contains(&verb) {
        true => 3 * often,
        false => often,
    }
}

/// How often one comes in between: what removes blocks, changes bytes, writes pages or drops them.
pub fn disturbs(image: Image, verb: Verb) -> u32 {
    use Verb::*;
    let often = match verb {
        Store | Evict | BufferedWrite | Punch => 8,
        Fsync | DirectWrite | Allocate | BufferedRead => 5,
        Truncate | CollapseRange | InsertRange | Load | SyncRange | AppendWrite => 3,
        DurableWrite | AppendDirect | SoonWrite => 2,
        AsyncWrite | Zero | Commit | Pin | OpenEmpty => 2,
        Bring | Thaw => 0,
        _ => 1,
    };
    match image {
        // What is freed can be used when that is committed.
        Image { pending: true, .. } if verb == Commit => 6 * often,
        Image { tight: true, .. } if REMOVES.contains(&verb) => 2 * often,
        _ => often,
    }
}

/// Does it have i_rwsem for itself?
fn has_lock(verb: Verb) -> bool {
    use Verb::*;
    let plans = matches!(verb, Allocate | KeepSize | Zero | ZeroKeep | Punch);
    let writes = matches!(verb, BufferedWrite | HalfWrite | RingWrite | DurableWrite);
    plans || writes || verb.appends() || verb == SoonWrite || verb.shifts() || verb.cuts()
}

/// Does it share i_rwsem, and is led by points below it? One that the kernel finishes is not.
fn shares_lock(verb: Verb) -> bool {
    use Verb::*;
    let direct = verb.is_direct() && !matches!(verb, AsyncWrite | RingDirectWrite);
    direct || matches!(verb, SeekData | SeekHole)
}

/// How often one comes in between the steps of another. One that has to wait keeps all that comes
/// behind it in its thread, so there are fewer of these. What a device has pinned is met by what
/// drops pages, or makes a part of them dirty.
pub fn comes(image: Image, victim: Verb, verb: Verb) -> u32 {
    let waits = has_lock(victim) && (has_lock(verb) || shares_lock(verb))
        || shares_lock(victim) && has_lock(verb);
    let often = disturbs(image, verb);
    let drops = REMOVES.contains(&verb) || matches!(verb, Verb::DirectWrite | Verb::BufferedWrite);
    match waits {
        true => often,
        false if victim.pins() && drops => 10 * often,
        false => 5 * often,
    }
}

/// How often a program begins with it: where what is promised and what is there differ, more is
/// looked up. Where blocks are few, what is promised is what counts, and what takes a node.
pub fn begins(image: Image, victim: Verb, start: Start) -> u32 {
    let small = image.block < PAGE;
    match start {
        Start::Dirty if image.tight => 8,
        Start::Comb if image.tight && small => 5,
        Start::Dirty | Start::Unwritten => 3,
        // What lies in front of what moves becomes like it.
        Start::Part if victim.shifts() => 6,
        Start::Part => 2,
        _ => 1,
    }
}
