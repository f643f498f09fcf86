// SPDX-License-Identifier: GPL-2.0
//! The operations: their calls, on what is there when they begin.

use crate::act::{act, name, Act, Part, Scene};
use model::model::Call;
use model::op::{Attribute, Move, Op, Space, Sync, Way};
use model::place::{self, Length, Place, Unit, PAGE, SECTOR};

const NOWHERE: Place = Place {
    from: place::From::Start,
    n: 0,
    unit: Unit::Byte,
    beside: 0,
};
const NOTHING: Length = Length {
    n: 0,
    unit: Unit::Byte,
    beside: 0,
};

/// A call that needs no number yet.
pub fn call(op: Op, at: u64, len: u64) -> Part {
    let seed = 0;
    Part::Call(Call { op, at, len, seed })
}

fn plain(op: Op) -> Vec<Part> {
    vec![call(op, 0, 0)]
}

fn truncate(to: u64) -> Vec<Part> {
    vec![call(Op::Truncate(name("a"), NOWHERE), to, 0)]
}

fn space(how: Space, at: u64, len: u64) -> Vec<Part> {
    vec![call(
        Op::Fallocate(name("a"), NOWHERE, NOTHING, how),
        at,
        len,
    )]
}

fn attribute(how: Attribute) -> Part {
    call(Op::Attribute(name("a"), how), 0, 0)
}

/// Another file is changed and brought to the disk, so all that is in the journal.
fn committed() -> Vec<Part> {
    vec![
        call(Op::Chmod(name("b"), 0o600), 0, 0),
        call(Op::Sync(name("b"), Sync::Fsync), 0, 0),
    ]
}

impl Scene {
    fn write(&self, file: &str, at: u64, len: u64) -> Part {
        let way = if self.dsync {
            Way::Dsync
        } else {
            Way::Buffered
        };
        call(Op::Write(name(file), NOWHERE, NOTHING, way), at, len)
    }

    fn direct(&self, at: u64, len: u64) -> Vec<Part> {
        let way = if self.dsync {
            Way::DirectDsync
        } else {
            Way::Direct
        };
        vec![call(Op::Write(name("a"), NOWHERE, NOTHING, way), at, len)]
    }

    /// Stores never go behind the end.
    fn mapped(&self, at: u64, len: u64) -> Vec<Part> {
        let len = len.min(self.size.saturating_sub(at));
        let op = Op::Write(name("a"), NOWHERE, NOTHING, Way::Mapped);
        vec![call(op, at.min(self.size), len)]
    }
}

/// All operations. The file `a` has 9500 bytes at first, `c` is not there, `d/a` is
/// scattered.
pub const ACTS: &[Act] = &[
    act("create", |_| plain(Op::Create(name("c")))).names(Some("c")),
    act("mkdir", |_| plain(Op::Mkdir(name("c")))).names(None),
    act("symlink", |_| plain(Op::Symlink(name("c")))).names(None),
    act("long-symlink", |_| plain(Op::Symlink(name("d/b")))).within("d"),
    act("reuse", |_| {
        vec![
            call(Op::Symlink(name("d/b")), 0, 0),
            Part::Directory("d"),
            call(Op::Unlink(name("d/b")), 0, 0),
            Part::Directory("d"),
        ]
    })
    .within("d"),
    act("unlink-symlink", |_| plain(Op::Unlink(name("e")))).names(None),
    act("link", |_| plain(Op::Link(name("a"), name("c")))).names(Some("c")),
    act("unlink", |_| plain(Op::Unlink(name("a")))).names(None),
    act("rename", |_| {
        plain(Op::Rename(name("a"), name("c"), Move::Replace))
    })
    .names(Some("c")),
    act("whiteout", |_| {
        plain(Op::Rename(name("a"), name("c"), Move::Whiteout))
    })
    .names(Some("c")),
    act("exchange", |_| {
        plain(Op::Rename(name("a"), name("b"), Move::Exchange))
    })
    .names(Some("a")),
    act("exchange-new", |scene| {
        vec![
            call(Op::Create(name("c")), 0, 0),
            scene.write("c", 0, 7000),
            call(Op::Rename(name("c"), name("a"), Move::Exchange), 0, 0),
        ]
    })
    .writes()
    .names(Some("a")),
    act("rename-over", |_| {
        plain(Op::Rename(name("a"), name("b"), Move::Replace))
    })
    .names(Some("b")),
    act("replace", |scene| {
        vec![
            call(Op::Create(name("c")), 0, 0),
            scene.write("c", 0, 7000),
            call(Op::Rename(name("c"), name("a"), Move::Replace), 0, 0),
        ]
    })
    .writes()
    .names(Some("a")),
    act("rewrite", |scene| {
        vec![call(Op::Create(name("a")), 0, 0), scene.write("a", 0, 7000)]
    })
    .writes(),
    act("append", |scene| vec![scene.write("a", scene.size, 3000)]).writes(),
    act("overwrite", |scene| vec![scene.write("a", 700, 5000)]).writes(),
    act("extend", |scene| {
        let at = scene.size.next_multiple_of(scene.block) + scene.block;
        vec![scene.write("a", at, PAGE + 100)]
    })
    .writes(),
    act("regrow", |scene| {
        let mut parts = truncate(3000);
        parts.push(call(Op::Sync(name("a"), Sync::Fsync), 0, 0));
        parts.push(scene.write("a", 3000, 3000));
        parts
    })
    .writes(),
    act("fill", |scene| {
        let at = scene.size.next_multiple_of(PAGE);
        let mut parts = truncate(at + 4 * PAGE);
        parts.push(scene.write("a", at + PAGE, PAGE));
        parts
    })
    .writes(),
    act("fill-scattered", |scene| {
        vec![scene.write("d/a", 5000, 6000)]
    })
    .writes()
    .on("d/a"),
    act("fill-allocated", |scene| {
        let allocate = Op::Fallocate(name("d/a"), NOWHERE, NOTHING, Space::KeepSize);
        vec![
            call(allocate, 5000, 6000),
            call(Op::Sync(name("d/a"), Sync::Fsync), 0, 0),
            scene.write("d/a", 5000, 6000),
        ]
    })
    .writes()
    .on("d/a"),
    act("grow", |scene| truncate(scene.size + 6000)),
    act("shrink", |_| truncate(3000)),
    act("punch", |_| space(Space::Punch, 1000, 6000)),
    act("zero", |scene| {
        space(Space::Zero, scene.size.saturating_sub(1000), 6000)
    }),
    act("allocate", |scene| {
        space(Space::Allocate, scene.size, 2 * PAGE)
    }),
    act("keep-size", |scene| {
        space(Space::KeepSize, scene.size, 2 * PAGE)
    }),
    act("collapse", |scene| {
        space(Space::Collapse, scene.block, scene.block)
    }),
    act("insert", |scene| {
        space(Space::Insert, scene.block, scene.block)
    }),
    act("attribute", |_| vec![attribute(Attribute::Small)]),
    act("attribute-block", |_| vec![attribute(Attribute::Large)]),
    act("attribute-gone", |_| {
        vec![
            attribute(Attribute::Large),
            call(Op::Sync(name("a"), Sync::Fsync), 0, 0),
            attribute(Attribute::Removed),
        ]
    }),
    act("direct-append", |scene| {
        scene.direct(scene.size.next_multiple_of(SECTOR), 2 * SECTOR)
    })
    .writes(),
    act("direct-overwrite", |scene| scene.direct(0, PAGE)).writes(),
    act("mapped", |scene| scene.mapped(2000, 5000)),
    act("writeback", |_| plain(Op::Sync(name("a"), Sync::Range))).alone(),
    act("commit", |_| committed()).alone(),
    act("overtake", |_| {
        let mut parts = vec![Part::Start(name("a"))];
        parts.extend(committed());
        parts
    })
    .alone()
    .late(),
];
