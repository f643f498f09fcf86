// SPDX-License-Identifier: GPL-2.0
//! One history, from an empty directory to its end: both sides do each step, and are compared with
//! the model and with each other.

use crate::cut::Promises;
use crate::look::{accounts, attribute, excess, found, held, holds, stat, whole, Fair};
use crate::model::{Call, Model};
use crate::names::{Does, Id, Tree};
use crate::op::{Attribute, History, Name, Op, View, Way};
use crate::side::{evict, Side};
use crate::stays::{data_is_written, Stays};
use crate::world::World;
use guest::sys;

/// What went wrong, and at which step; after all of them if there is none.
#[derive(Clone, Debug)]
pub struct Harm {
    pub step: Option<usize>,
    pub words: String,
}

/// Runs it in a directory of its own, and tells the steps as they are resolved. If it is to be
/// checked, e2fsck looks at what is there at the end.
pub fn run(
    world: &World,
    history: &History,
    told: &mut Vec<String>,
    check: bool,
) -> Result<(), Harm> {
    let mut model = Model::new(history.image);
    let harm = |step, words| Harm { step, words };
    let cuts = |op: &Op| matches!(op, Op::Cut | Op::Lose(_));
    let has_cut = history.steps.iter().any(cuts);
    let [ours, _] = world.sides();
    for side in world.sides() {
        side.begin(has_cut).map_err(|e| harm(None, e.to_string()))?;
    }
    if let Some(room) = history.room {
        // When a disk is full differs with what is reserved: that of the twin is not.
        ours.fill(room)
            .map_err(|e| harm(None, format!("fill: {e}")))?;
    }
    let mut promises = Promises::new(&model.tree).on(history.mount);
    let first = Name::FIRST.map(Op::Create);
    for (i, op) in first.iter().chain(&history.steps).enumerate() {
        let call = model.call(*op, i as u64 + 1);
        told.push(tell(&call));
        let done = match *op {
            Op::Cut => cut(world, &mut model, &mut promises).map(|()| Done::Cut),
            Op::Lose(name) => lose(world, &mut model, &mut promises, name),
            _ => step(world, &mut model, &call, history.room.is_some()),
        };
        let done = done.map_err(|e| harm(Some(i), e))?;
        if matches!(op, Op::Evict | Op::Remount) {
            settle(world, &mut model, &promises).map_err(|e| harm(Some(i), e))?;
        }
        if let Some(line) = told.last_mut() {
            line.push_str(done.text());
        }
        match done {
            Done::All if has_cut => promises.step(&call, &model.tree),
            Done::Part if has_cut => promises.partly(&call, &model.tree),
            _ => (),
        }
    }
    finish(world, &mut model, &promises).map_err(|e| harm(None, e))?;
    if check {
        let checked = world.check().and_then(|()| Ok(ours.mount()?));
        checked.map_err(|e| harm(None, format!("with all that is there: {e}")))?;
    }
    leave(world).map_err(|e| harm(None, e))
}

/// How much of a step was done.
enum Done {
    /// It failed, as it should.
    Nothing,
    /// The disk was full.
    Part,
    All,
    /// The power failed.
    Cut,
}

impl Done {
    fn text(&self) -> &'static str {
        match self {
            Done::Nothing => ": fails",
            Done::Part => ": the disk is full",
            Done::All | Done::Cut => "",
        }
    }
}

/// A step in words.
pub fn tell(call: &Call) -> String {
    let range = format!("{}+{}", call.at, call.len);
    match call.op {
        Op::Write(name, _, _, way) => format!("write {} {range} {way:?}", name.text()),
        Op::Fallocate(name, _, _, how) => format!("fallocate {} {range} {how:?}", name.text()),
        Op::Truncate(name, _) => format!("truncate {} to {}", name.text(), call.at),
        op => ron::to_string(&op).unwrap_or_default(),
    }
}

/// Does a step on both sides. The model and the file system under test must agree. So must the
/// twin, but what it does wrong is not ours to find: it strays, and is asked no more. A disk that
/// is `full` may refuse.
fn step(world: &World, model: &mut Model, call: &Call, full: bool) -> Result<Done, String> {
    let [ours, twin] = world.sides();
    let before = model.tree.clone();
    let want = model.apply(call);
    let (got, moved) = timed(ours, call);
    let size = |name| before.file(name).map_or(0, |data| data.len() as u64);
    let shrinks = matches!(call.op, Op::Truncate(name, _) if call.at <= size(name));
    if full && want.is_ok() && !shrinks && is_full(call, &got) {
        partly(ours, model, before, call)?;
        seen(ours, model, call)?;
        follow(twin, model, call.op);
        return Ok(Done::Part);
    }
    if !agrees(&want, &got) {
        return Err(format!(
            "{} says {}, the model {want:?}",
            ours.fs,
            text(&got)
        ));
    }
    let done = if want.is_ok() {
        Done::All
    } else {
        Done::Nothing
    };
    seen(ours, model, call)?;
    if twin.is_away() {
        return Ok(done);
    }
    let (other, other_moved) = timed(twin, call);
    if call.op == Op::Evict {
        // Of both: an inode that comes from the disk again does not know who has looked at it, and
        // its times move as often as the clock ticks.
        ours.forget();
        twin.forget();
    }
    let pair = |a: &str, b: &str| Err(format!("{} {a}, {} {b}", ours.fs, twin.fs));
    if !agrees(&want, &other) || seen(twin, model, call).is_err() {
        twin.stray();
    } else if got != other {
        return pair(
            &format!("says {}", text(&got)),
            &format!("says {}", text(&other)),
        );
    } else if moved != other_moved {
        return pair(
            &format!("moved {moved:?}"),
            &format!("moved {other_moved:?}"),
        );
    }
    Ok(done)
}

/// Has this answer to do with a full disk? What was written before must not be lost: to bring it to
/// the disk never fails for that, whoever asks for it. Nor does what makes room, or takes none.
fn is_full(call: &Call, got: &Result<u64, i32>) -> bool {
    match (call.op, got) {
        (Op::Sync(..) | Op::Freeze | Op::Remount | Op::ReadOnly | Op::Evict, _) => false,
        (Op::Flag(..), _) => false,
        (Op::Forget(_) | Op::Release | Op::Hold(_) | Op::Look(..) | Op::LookHeld, _) => false,
        (Op::Unlink(_) | Op::Rmdir(_) | Op::Chmod(..), _) => false,
        (Op::Attribute(_, Attribute::Removed), _) => false,
        (_, Err(libc::ENOSPC)) | (Op::Write(_, _, _, Way::Mapped), Err(libc::EFAULT)) => true,
        (Op::Write(..), Ok(n)) => *n < call.len,
        _ => false,
    }
}

/// The disk was full. A name is not there, then; of a file each byte is the old one or the new one,
/// and the size is between the two. The model goes on with what is there.
fn partly(side: &Side, model: &mut Model, before: Tree, call: &Call) -> Fair {
    let (Op::Write(name, ..) | Op::Truncate(name, _) | Op::Fallocate(name, ..)) = call.op else {
        model.tree = before;
        return Ok(());
    };
    let (Ok(id), Ok(old), Ok(new)) = (before.find(name), before.file(name), model.tree.file(name))
    else {
        return Err("a file that is not there cannot be written".to_string());
    };
    let seen = side
        .look(name.text(), View::Buffered)
        .map_err(|e| e.to_string())?;
    let sizes = old.len().min(new.len())..=old.len().max(new.len());
    let at = |data: &[u8], i: usize| data.get(i).copied().unwrap_or(0);
    let foreign = (0..seen.len()).find(|&i| seen[i] != at(old, i) && seen[i] != at(new, i));
    if let (true, None) = (sizes.contains(&seen.len()), foreign) {
        model.tree.set_data(id, seen);
        return Ok(());
    }
    let size = seen.len();
    Err(format!(
        "on a full disk: {size} bytes of {sizes:?}; neither old nor new: {foreign:?}"
    ))
}

/// The twin has the bytes that the model has of the files that a step was about.
fn follow(twin: &Side, model: &Model, op: Op) {
    for name in Model::touched(op) {
        let put = |data| twin.put(name.text(), data).is_ok();
        if !twin.is_away() && !model.tree.file(name).map_or(true, |data| put(data)) {
            twin.leave();
        }
    }
}

/// Of each name, and of the directory: whether the time of the data moved, and that of the inode.
type Moved = Vec<(String, bool, bool)>;

/// Does it, and finds which times moved.
fn timed(side: &Side, call: &Call) -> (Result<u64, i32>, Moved) {
    let mut paths: Vec<&str> = Model::touched(call.op)
        .into_iter()
        .map(Name::text)
        .collect();
    paths.push("");
    // The directories of the names, too.
    for at in 0..paths.len() {
        let dir = paths[at].rsplit_once('/').map_or("", |(dir, _)| dir);
        if !paths.contains(&dir) {
            paths.push(dir);
        }
    }
    let before = side.before(&paths);
    let got = side.apply(call);
    let mut moved = Vec::new();
    // A page that is dirty already is stored into without anybody being told.
    let is_told = !matches!(call.op, Op::Write(_, _, _, Way::Mapped));
    for ((path, old), new) in paths.iter().zip(before).zip(side.after(&paths)) {
        if let (Some(old), Some(new), true) = (old, new, is_told) {
            let mtime = (old.st_mtime, old.st_mtime_nsec) != (new.st_mtime, new.st_mtime_nsec);
            let ctime = (old.st_ctime, old.st_ctime_nsec) != (new.st_ctime, new.st_ctime_nsec);
            if old.st_ino == new.st_ino {
                moved.push((path.to_string(), mtime, ctime));
            }
        }
    }
    (got, moved)
}

/// The power fails for the file system under test. What is there afterwards is what the model goes
/// on with, and the twin gets it.
fn cut(world: &World, model: &mut Model, promises: &mut Promises) -> Fair {
    let [ours, twin] = world.sides();
    ours.release();
    world.cut().map_err(|e| format!("power cut: {e}"))?;
    let (entries, data) = found(ours).map_err(|e| format!("after the cut: {e}"))?;
    model.tree = promises
        .kept(&entries, &data)
        .map_err(|e| format!("after the cut: {e}"))?;
    model.tree.release();
    model.taken.forget();
    *promises = promises.after_cut(&model.tree);
    if !twin.is_away() && twin.copy(&model.tree).is_err() {
        twin.leave();
    }
    Ok(())
}

/// What is dirty of a file cannot be written, and leaves the memory. What is there now is what the
/// model goes on with, and the twin gets it. The size stays what it was.
fn lose(
    world: &World,
    model: &mut Model,
    promises: &mut Promises,
    name: Name,
) -> Result<Done, String> {
    let [ours, twin] = world.sides();
    let Ok(id) = model.tree.find(name) else {
        return Ok(Done::Nothing);
    };
    let size = match model.tree.file(name) {
        Ok(data) => data.len(),
        Err(_) => return Ok(Done::Nothing),
    };
    model.tree.release();
    twin.release();
    ours.forget();
    ours.lose(name).map_err(|e| e.to_string())?;
    promises.lost(id);
    reload(world, model, promises, id)?;
    match model.tree.data(id).map_or(size, |data| data.len()) {
        now if now != size => Err(format!("{now} bytes after a loss, not {size}")),
        _ => Ok(Done::All),
    }
}

/// What is in the file now must be what may be on its disk.
fn reload(world: &World, model: &mut Model, promises: &Promises, id: Id) -> Fair {
    let [ours, twin] = world.sides();
    let paths = model.tree.paths();
    let Some((path, _)) = paths.iter().find(|(_, other)| *other == id) else {
        return Ok(());
    };
    // It shall not be in memory again.
    let data = ours.look(path, View::Direct).map_err(|e| e.to_string())?;
    promises
        .may_be(id, &data)
        .map_err(|e| format!("{path}, of which data was lost: {e}"))?;
    if !twin.is_away() && twin.put(path, &data).is_err() {
        twin.leave();
    }
    model.tree.set_data(id, data);
    Ok(())
}

/// The files of which data was lost have left the memory: the size that is on the disk may be an
/// older one.
fn settle(world: &World, model: &mut Model, promises: &Promises) -> Fair {
    let losers = promises.losers();
    let mut all = losers.into_iter();
    all.try_for_each(|id| reload(world, model, promises, id))
}

/// What is looked at after a step.
fn seen(side: &Side, model: &Model, call: &Call) -> Fair {
    if call.op == Op::LookHeld {
        if let Ok(data) = model.tree.file(Name::HELD) {
            held(side, data)?;
        }
    }
    if let Op::Look(name, view) = call.op {
        if let Ok(data) = model.tree.file(name) {
            holds(side, name.text(), view, data)?;
        }
    }
    if let Op::Attribute(name, _) = call.op {
        if let Ok(id) = model.tree.find(name) {
            attribute(side, model, name.text(), id)?;
        }
    }
    Model::touched(call.op)
        .into_iter()
        .try_for_each(|name| stat(side, model, name))
}

fn agrees(want: &Does<u64>, got: &Result<u64, i32>) -> bool {
    match (want, got) {
        (Ok(want), Ok(got)) => want == got,
        (want, got) => want.is_err() == got.is_err(),
    }
}

fn text(answer: &Result<u64, i32>) -> String {
    match answer {
        Ok(n) => format!("{n}"),
        Err(e) => sys::errname(*e),
    }
}

/// Everything, in every way there is; again as the disk has it. The twin is not looked at: that it
/// does these things right is not the question.
fn finish(world: &World, model: &mut Model, promises: &Promises) -> Fair {
    let [ours, twin] = world.sides();
    if let Ok(data) = model.tree.file(Name::HELD) {
        held(ours, data)?;
    }
    ours.release();
    twin.release();
    model.tree.release();
    whole(ours, model, &View::ALL)?;
    ours.sync().map_err(|e| e.to_string())?;
    let stays = Stays::of(ours, model)?;
    evict().map_err(|e| e.to_string())?;
    stays.are_there(ours, &promises.losers())?;
    settle(world, model, promises)?;
    data_is_written(ours, model)?;
    whole(ours, model, &[View::Buffered]).map_err(|e| format!("after eviction: {e}"))?;
    accounts(ours, model)?;
    excess(ours, model)
}

/// All goes.
fn leave(world: &World) -> Fair {
    let [ours, twin] = world.sides();
    ours.end()?;
    let end = twin.remove();
    if twin.is_away() {
        return Ok(());
    }
    end
}
