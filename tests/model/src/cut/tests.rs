// SPDX-License-Identifier: GPL-2.0
use super::*;
use crate::op::{Attribute, Image, Name};
use crate::place::{From, Length, Place, Unit};

/// A file of 8 bytes that is on disk, then these steps.
fn after(steps: &[Call]) -> (Model, Promises) {
    let mut model = Model::new(Image::Block4k);
    let step = |op, model: &mut Model| {
        let call = model.call(op, 1);
        model.apply(&call).map(|_| call)
    };
    step(Op::Create(name("a")), &mut model).unwrap();
    model.tree.file_mut(name("a")).unwrap().extend([7; 8]);
    let mut promises = Promises::new(&model.tree);
    for call in steps {
        model.apply(call).unwrap();
        promises.step(call, &model.tree);
    }
    (model, promises)
}

fn name(text: &str) -> Name {
    Name::try_from(text.to_string()).unwrap()
}

fn call(op: Op) -> Call {
    let (at, len, seed) = (0, 0, 1);
    Call { op, at, len, seed }
}

/// Whether these bytes of `a`, and no other name, may be there.
fn may_be(promises: &Promises, bytes: &[u8]) -> bool {
    let seen = entries(&promises.stages[0]);
    let data = [("a".to_string(), bytes.to_vec())].into();
    promises.kept(&seen, &data).is_ok()
}

/// A file of 8 bytes, and this step with such a mount, after the file had its flag.
fn with(mount: Mount, flag: Flag, op: Op, at: u64) -> Promises {
    let (mut model, _) = after(&[]);
    model.tree.set_flag(name("a"), flag).unwrap();
    let mut promises = Promises::new(&model.tree).on(mount);
    let call = Call { at, ..call(op) };
    model.apply(&call).unwrap();
    promises.step(&call, &model.tree);
    promises
}

#[test]
fn the_size_of_a_synchronous_file_is_there() {
    for (mount, flag) in [(Mount::Sync, Flag::None), (Mount::Usual, Flag::Sync)] {
        let promises = with(mount, flag, truncate(), 4);
        assert!(may_be(&promises, &[7; 4]));
        assert!(!may_be(&promises, &[7; 8]), "{mount:?}, {flag:?}");
    }
    for mount in [Mount::Usual, Mount::Dirsync] {
        assert!(may_be(&with(mount, Flag::None, truncate(), 4), &[7; 8]));
    }
}

#[test]
fn names_of_a_synchronous_directory_are_there() {
    let new = Op::Create(name("b"));
    for (mount, is_promised) in [
        (Mount::Usual, false),
        (Mount::Sync, true),
        (Mount::Dirsync, true),
    ] {
        let promises = with(mount, Flag::None, new, 0);
        assert_eq!(!may_be(&promises, &[7; 8]), is_promised, "{mount:?}");
    }
    // Of its own directory a file says nothing.
    assert!(may_be(&with(Mount::Usual, Flag::Sync, new, 0), &[7; 8]));
}

#[test]
fn what_was_not_synced_may_be_either() {
    let (_, promises) = after(&[Call {
        at: 12,
        ..call(truncate())
    }]);
    assert!(may_be(&promises, &[7; 8]));
    assert!(may_be(&promises, &[7, 7, 7, 7, 7, 7, 7, 7, 0, 0]));
    assert!(!may_be(&promises, &[7; 7]), "shorter than it ever was");
    assert!(!may_be(&promises, &[7; 9]), "a byte that nobody wrote");
    assert!(
        !may_be(&promises, &[7, 7, 7, 7, 0, 7, 7, 7]),
        "a byte is lost"
    );
}

#[test]
fn what_was_synced_is_there() {
    for how in [Sync::Fsync, Sync::Fdatasync, Sync::All] {
        let long = Call {
            at: 12,
            ..call(truncate())
        };
        let (_, promises) = after(&[long, call(Op::Sync(name("a"), how))]);
        assert!(!may_be(&promises, &[7; 8]), "{how:?}");
        assert!(
            may_be(&promises, &[7, 7, 7, 7, 7, 7, 7, 7, 0, 0, 0, 0]),
            "{how:?}"
        );
    }
}

#[test]
fn names_come_in_their_order() {
    let (b, c) = (call(Op::Mkdir(name("d"))), call(Op::Mkdir(name("e"))));
    let (model, promises) = after(&[b, c]);
    let may_be = |promises: &Promises, gone: &[&str]| {
        let mut tree = model.tree.clone();
        gone.iter()
            .for_each(|gone| tree.remove(name(gone), true).unwrap());
        let data = [("a".to_string(), vec![7; 8])].into();
        promises.kept(&entries(&tree), &data).is_ok()
    };
    assert!(may_be(&promises, &[]) && may_be(&promises, &["e"]) && may_be(&promises, &["d", "e"]));
    assert!(
        !may_be(&promises, &["d"]),
        "the later one without the earlier"
    );
    let steps = [
        b,
        Call {
            at: 8,
            ..call(truncate())
        },
        call(Op::Sync(name("a"), Sync::Fsync)),
    ];
    let (model, promises) = after(&steps);
    let mut tree = model.tree.clone();
    tree.remove(name("d"), true).unwrap();
    let data = [("a".to_string(), vec![7; 8])].into();
    assert!(
        promises.kept(&entries(&tree), &data).is_err(),
        "a name from before an fsync"
    );
}

#[test]
fn a_synced_directory_has_its_names() {
    let (model, mut promises) = after(&[call(Op::Mkdir(name("d")))]);
    let without = entries(&promises.stages[0]);
    let data: Contents = [("a".to_string(), vec![7; 8])].into();
    assert!(promises.kept(&without, &data).is_ok());
    promises.directory("d");
    assert!(
        promises.kept(&without, &data).is_ok(),
        "nothing in it has changed"
    );
    promises.directory("");
    assert!(promises.kept(&without, &data).is_err());
    assert!(promises.kept(&entries(&model.tree), &data).is_ok());
}

#[test]
fn what_replaces_is_whole() {
    let (b, rename) = (name("b"), Op::Rename(name("b"), name("a"), Move::Replace));
    let (mut model, mut promises) = after(&[call(Op::Create(b))]);
    model.tree.file_mut(b).unwrap().extend([9; 8]);
    promises.partly(&call(truncate()), &model.tree);
    model.apply(&call(rename)).unwrap();
    promises.begun(&call(rename), &model.tree);
    let seen = entries(&model.tree);
    let holds = |bytes: &[u8]| {
        let data = [("a".to_string(), bytes.to_vec())].into();
        promises.kept(&seen, &data).is_ok()
    };
    assert!(holds(&[9; 8]));
    assert!(!holds(&[]), "the new name with none of the new bytes");
}

#[test]
fn what_was_lost_is_not_promised() {
    let long = Call {
        at: 12,
        ..call(truncate())
    };
    let (model, mut promises) = after(&[long]);
    promises.lost(model.tree.find(name("a")).unwrap());
    for how in [Sync::All, Sync::Fsync] {
        promises.step(&call(Op::Sync(name("a"), how)), &model.tree);
        assert!(may_be(&promises, &[7; 8]), "{how:?}");
        assert!(!may_be(&promises, &[7; 7]), "{how:?}");
    }
}

#[test]
fn bytes_of_o_dsync_are_there() {
    let place = Place {
        from: From::Start,
        n: 0,
        unit: Unit::Byte,
        beside: 0,
    };
    let length = Length {
        n: 4,
        unit: Unit::Byte,
        beside: 0,
    };
    let op = Op::Write(name("a"), place, length, Way::Dsync);
    let write = Call {
        at: 6,
        len: 4,
        ..call(op)
    };
    let (model, promises) = after(&[write]);
    let all = model.tree.file(name("a")).unwrap().clone();
    assert!(may_be(&promises, &all));
    assert!(!may_be(&promises, &all[..9]), "shorter");
    let mut old = all.clone();
    old[7] = 7;
    assert!(!may_be(&promises, &old), "an old byte");
}

#[test]
fn what_moves_may_be_half_way() {
    let moved = |how| {
        let (place, length) = nowhere();
        let op = Op::Fallocate(name("a"), place, length, how);
        Call { len: 4, ..call(op) }
    };
    let sync = call(Op::Sync(name("a"), Sync::Fsync));
    let (_, promises) = after(&[moved(Space::Collapse)]);
    assert!(may_be(&promises, &[7; 8]) && may_be(&promises, &[7; 4]));
    assert!(may_be(&promises, &[7, 7, 0, 0, 7, 7]));
    assert!(!may_be(&promises, &[7; 3]) && !may_be(&promises, &[9; 4]));
    let (_, promises) = after(&[moved(Space::Collapse), sync]);
    assert!(may_be(&promises, &[7; 4]) && !may_be(&promises, &[7; 8]));
    let (_, promises) = after(&[moved(Space::Insert), sync]);
    assert!(may_be(&promises, &[0, 0, 0, 0, 7, 7, 7, 7, 7, 7, 7, 7]));
    assert!(!may_be(&promises, &[7; 12]));
}

#[test]
fn attributes_and_whiteouts_are_names() {
    let (a, c) = (name("a"), name("b"));
    let set = call(Op::Attribute(a, Attribute::Small));
    let whiteout = call(Op::Rename(a, c, Move::Whiteout));
    let (model, promises) = after(&[set, whiteout]);
    let all = entries(&model.tree);
    assert_eq!(
        (all.len(), all[0].kind, all[1].kind),
        (2, libc::S_IFCHR, libc::S_IFREG)
    );
    let value = set.value(Attribute::Small, 4096);
    assert_eq!((&all[0].attribute, &all[1].attribute), (&None, &value));
    let data = |path: &str| -> Contents { [(path.to_string(), vec![7; 8])].into() };
    assert!(promises.kept(&all, &data("b")).is_ok());
    // Not the later one without the earlier.
    let mut without = all.clone();
    without[1].attribute = None;
    assert!(promises.kept(&without, &data("b")).is_err());
    assert!(promises
        .kept(&entries(&promises.stages[0]), &data("a"))
        .is_ok());
    let mut model = model;
    let gone = call(Op::Attribute(c, Attribute::Removed));
    assert!(model.apply(&gone).is_ok() && model.apply(&gone).is_err());
}

fn nowhere() -> (Place, Length) {
    let (n, unit, beside) = (0, Unit::Byte, 0);
    let from = From::Start;
    (
        Place {
            from,
            n,
            unit,
            beside,
        },
        Length { n, unit, beside },
    )
}

fn truncate() -> Op {
    let place = Place {
        from: From::Start,
        n: 0,
        unit: Unit::Byte,
        beside: 0,
    };
    Op::Truncate(name("a"), place)
}

/// What is brought to the disk after a loss is promised again: the bytes, and the size if it is
/// another one.
#[test]
fn what_comes_after_a_loss_is_promised() {
    let long = Call {
        at: 12,
        ..call(truncate())
    };
    let (mut model, mut promises) = after(&[long]);
    let id = model.tree.find(name("a")).unwrap();
    promises.lost(id);
    let sync = call(Op::Sync(name("a"), Sync::Fsync));
    let mut put = |len: usize, byte: u8, promises: &mut Promises| {
        let data = model.tree.file_mut(name("a")).unwrap();
        data.clear();
        data.resize(len, byte);
        promises.partly(&call(Op::Forget(name("a"))), &model.tree);
        promises.step(&sync, &model.tree);
    };
    put(12, 9, &mut promises);
    assert!(may_be(&promises, &[9; 12]));
    assert!(may_be(&promises, &[9; 8]), "the size may be the old one");
    assert!(!may_be(&promises, &[7; 8]), "the bytes may not");
    put(16, 9, &mut promises);
    assert!(may_be(&promises, &[9; 16]));
    assert!(!may_be(&promises, &[9; 12]), "the size is a new one");
    promises.lost(id);
    put(16, 5, &mut promises);
    assert!(may_be(&promises, &[5; 16]));
    assert!(!may_be(&promises, &[5; 12]), "promised before the loss");
}

/// What a power cut has left behind the end lies in the last block, until something is written over
/// it.
#[test]
fn what_was_cut_off_may_be_seen_where_data_is_lost() {
    let (mut model, promises) = after(&[]);
    let id = model.tree.find(name("a")).unwrap();
    let short = model.tree.clone();
    model.tree.file_mut(name("a")).unwrap().extend([9; 4]);
    let mut all = promises;
    all.begun(&call(Op::Create(name("b"))), &model.tree);
    let mut left = all.after_cut(&short);
    let (old, torn) = ([&[7; 8][..], &[9; 2]].concat(), [9; 10]);
    left.begun(&call(Op::Create(name("b"))), &model.tree);
    model.tree.file_mut(name("a")).unwrap()[8..].fill(5);
    left.stages = vec![short, model.tree.clone()];
    assert!(left.may_be(id, &old).is_err(), "nothing is lost");
    left.lost(id);
    assert_eq!(left.may_be(id, &old), Ok(()));
    assert!(left.may_be(id, &torn).is_err(), "not behind the end");
    left.synced(&model.tree);
    left.lost(id);
    assert!(left.may_be(id, &[7; 12]).is_err(), "nobody wrote that");
}
