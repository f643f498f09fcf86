// SPDX-License-Identifier: GPL-2.0
//! What a program may have, for it is promised; what else is drawn becomes something like it.

use crate::op::Verb;
use crate::pairs::open;
use crate::program::{Image, Program, OPS};

/// Does it change nothing, and wait for nobody who does?
fn looks(verb: Verb) -> bool {
    use Verb::*;
    let bytes = matches!(verb, BufferedRead | Load | SeekData | SeekHole | Fiemap);
    bytes || matches!(verb, LookUp | List | ReadAttribute | Thaw | Bring)
}

/// What lasts is ended: by one more operation, or the last one is it.
fn closed(mut program: Program) -> Program {
    for ops in &mut program.threads {
        for nth in open(ops) {
            let Some((end, _)) = ops[nth].verb.lasts() else {
                continue;
            };
            let end = crate::op::Op {
                verb: end,
                at: 0,
                len: 0,
                ..ops[nth]
            };
            let last = ops.len() - 1;
            let ends = |verb| matches!(verb, Verb::Bring | Verb::Thaw);
            match ops.len() < OPS {
                true => ops.push(end),
                false if last > nth && !ends(ops[last].verb) => ops[last] = end,
                false => (),
            }
        }
    }
    program
}

/// Who keeps the file system frozen would wait for himself if he changed anything. Or for who
/// writes what has become dirty since, as what a device delivers does, with the page locked.
fn melt(program: &mut Program) {
    let mut all = program.threads.iter().flatten();
    let pins = all.any(|op| op.verb.pins());
    for ops in &mut program.threads {
        for (begun, over) in crate::pairs::pairs(ops) {
            let looks = ops[begun + 1..over].iter().all(|op| looks(op.verb));
            if ops[begun].verb == Verb::StayFrozen && (pins || !looks) {
                ops[begun].verb = Verb::Freeze;
            }
        }
    }
}

/// Without the gate nothing is promised of pages that become dirty while they are written directly.
/// A direct write that is waited for keeps others from write(2), but not from a mapping.
///
/// Nor is anything unwritten in a block map, and nothing moves. With DAX there are no pages beside
/// the blocks; MAP_SYNC is nowhere else. What needs a file of its own that has blocks cannot be
/// had on a full disk.
pub fn promised(program: Program) -> Program {
    let mut program = closed(kept(program));
    melt(&mut program);
    program.paired()
}

/// What is promised of all.
fn kept(mut program: Program) -> Program {
    let Image {
        dax, tight, far, ..
    } = program.image;
    for op in program.threads.iter_mut().flatten() {
        op.verb = match op.verb {
            Verb::SyncStore if !dax => Verb::Store,
            Verb::ReadInto if tight => Verb::Deliver,
            // It is refused, always.
            Verb::MoveExtents if dax => Verb::Punch,
            // That is the end of what is before byte 0 as well.
            Verb::OpenEmpty if far => Verb::Truncate,
            // Who removes blocks waits for it there, with locks that others want.
            Verb::Pin if dax => Verb::Deliver,
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
    // A page that a device has pinned becomes dirty without a fault. Over a hole nothing is
    // promised for it: who writes it finds no block on a full disk, and who looks for holes before
    // it is written finds one.
    let has = |which: fn(&Verb) -> bool| program.threads.iter().flatten().any(|op| which(&op.verb));
    let asked = has(|verb| verb.asks());
    let digs = has(|verb| *verb == Verb::Punch || verb.cuts());
    if (tight || asked) && !dax && digs {
        let all = program.threads.iter_mut().flatten();
        all.filter(|op| op.verb.pins())
            .for_each(|op| op.verb = Verb::Store);
    }
    if program.image.gate || dax {
        return program;
    }
    let has = |which: fn(Verb) -> bool| program.threads.iter().flatten().any(|op| which(op.verb));
    let direct = has(Verb::is_direct_write);
    let dirties = has(|verb| verb.writes() && !verb.is_direct());
    use Verb::*;
    for op in program.threads.iter_mut().flatten() {
        op.verb = match op.verb {
            Store | Deliver | Pin | ReadInto if direct => BufferedWrite,
            AsyncWrite | RingDirectWrite if dirties => DirectWrite,
            verb => verb,
        };
    }
    program
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What becomes of a program of which an operation is another one.
    fn becomes(text: &str, change: (usize, usize, Verb)) -> String {
        let mut program: Program = text.parse().unwrap();
        program.threads[change.0][change.1].verb = change.2;
        promised(program).to_string()
    }

    #[test]
    fn what_lasts_is_ended() {
        let pin = |text| becomes(text, (0, 0, Verb::Pin));
        assert_eq!(pin("4kg,written:st.a.0+512"), "4kg,written:pn.a.0+512,dl.a");
        let full = "4kg,written:st.a.0+512,fs.a,ev.a";
        assert_eq!(pin(full), "4kg,written:pn.a.0+512,fs.a,dl.a");
        // Where there is no room it is over at once.
        let last = becomes("4kg,written:fs.a,ev.a,st.a.0+512", (0, 2, Verb::Pin));
        assert_eq!(last, "4kg,written:fs.a,ev.a,de.a.0+512");
        let dax = becomes("4kd,written:st.a.0+512,fs.a", (0, 0, Verb::Pin));
        assert_eq!(dax, "4kd,written:de.a.0+512,fs.a");
        let loose = becomes("4k,written:st.a.0+512/dw.a.0+512", (0, 0, Verb::Pin));
        assert_eq!(loose, "4k,written:bw.a.0+512/dw.a.0+512");
    }

    #[test]
    fn who_keeps_it_frozen_only_looks() {
        let freeze = |text| becomes(text, (0, 0, Verb::StayFrozen));
        let looks = "4k,written:fr.a,br.a.0+1/bw.a.0+1";
        assert_eq!(freeze(looks), "4k,written:fz.a,br.a.0+1,th.a/bw.a.0+1");
        let writes = "4k,written:fr.a,bw.a.0+1,th.a/bw.a.0+1";
        assert_eq!(freeze(writes), writes);
        let pinned = "4kg,written:fr.a,br.a.0+1,th.a/de.a.0+512";
        assert_eq!(freeze(pinned), pinned);
        assert_eq!(freeze("4k,files:fr.a,ls.m"), "4k,files:fz.a,ls.m,th.a");
    }
}
