// SPDX-License-Identifier: GPL-2.0
//! One history, from a new image to its end: both sides do each step, and are compared with the
//! model and with each other.

use crate::model::{Call, Model};
use crate::names::{Does, Kind, ROOT, TARGET};
use crate::op::{History, Name, Op, View};
use crate::side::{evict, Side};
use crate::world::World;
use guest::fixture::{diff_at, names};
use guest::sys;

/// What went wrong, and at which step; after all of them if there is none.
#[derive(Clone, Debug)]
pub struct Harm {
    pub step: Option<usize>,
    pub words: String,
}

type Fair = Result<(), String>;

fn said<T>(result: Result<T, guest::harness::Stop>, what: &str) -> Result<T, String> {
    result.map_err(|e| format!("{what}: {e}"))
}

/// Runs it in a directory of its own, and tells the steps as they are resolved.
pub fn run(world: &World, history: &History, told: &mut Vec<String>) -> Result<(), Harm> {
    let mut model = Model::new(history.image.block());
    let harm = |step, words| Harm { step, words };
    for side in &world.sides {
        side.begin().map_err(|e| harm(None, e.to_string()))?;
    }
    let first = [Op::Create(Name::first())];
    for (i, op) in first.iter().chain(&history.steps).enumerate() {
        let call = model.call(*op, i as u64 + 1);
        told.push(tell(&call));
        step(world, &mut model, &call).map_err(|e| harm(Some(i), e))?;
    }
    finish(world, &model).map_err(|e| harm(None, e))
}

/// A step in words.
fn tell(call: &Call) -> String {
    let range = format!("{}+{}", call.at, call.len);
    match call.op {
        Op::Write(name, _, _, way) => format!("write {} {range} {way:?}", name.text()),
        Op::Fallocate(name, _, _, how) => format!("fallocate {} {range} {how:?}", name.text()),
        Op::Truncate(name, _) => format!("truncate {} to {}", name.text(), call.at),
        op => ron::to_string(&op).unwrap_or_default(),
    }
}

/// Does a step on both sides. The model and the file system under test must agree. So must the
/// twin, but what it does wrong is not ours to find: it strays, and is asked no more.
fn step(world: &World, model: &mut Model, call: &Call) -> Fair {
    let want = model.apply(call);
    let [ours, twin] = &world.sides;
    let got = ours.apply(call);
    if !agrees(&want, &got) {
        return Err(format!(
            "{} says {}, the model {want:?}",
            ours.fs,
            text(&got)
        ));
    }
    seen(ours, model, call)?;
    if twin.strayed.get() {
        return Ok(());
    }
    let other = twin.apply(call);
    if !agrees(&want, &other) || seen(twin, model, call).is_err() {
        twin.strayed.set(true);
    } else if got != other {
        return Err(format!(
            "{} says {}, {} says {}",
            ours.fs,
            text(&got),
            twin.fs,
            text(&other)
        ));
    }
    Ok(())
}

/// What is looked at after a step.
fn seen(side: &Side, model: &Model, call: &Call) -> Fair {
    if let Op::Look(name, view) = call.op {
        if let Ok(data) = model.tree.file(name) {
            holds(side, name.text(), view, data)?;
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

/// What stat(2) says of a name.
fn stat(side: &Side, model: &Model, name: Name) -> Fair {
    let found = sys::lstat(&side.path(name.text()));
    match (model.tree.find(name), found) {
        (Err(_), Err(_)) => Ok(()),
        (Ok(id), Ok(st)) => attributes(side, model, (name.text(), id), &st),
        (want, got) => Err(format!(
            "{}: {} is {}there, {}",
            side.fs,
            name.text(),
            if got.is_ok() { "" } else { "not " },
            if want.is_ok() {
                "and should be"
            } else {
                "and should not be"
            }
        )),
    }
}

fn attributes(side: &Side, model: &Model, (path, id): (&str, usize), st: &libc::stat) -> Fair {
    let node = model.tree.at(id);
    let (kind, size) = match &node.kind {
        Kind::File(data) => (libc::S_IFREG, Some(data.len() as i64)),
        Kind::Dir(_) => (libc::S_IFDIR, None),
        Kind::Symlink => (libc::S_IFLNK, Some(TARGET.len() as i64)),
    };
    let want = (kind | node.mode, node.links, size.unwrap_or(st.st_size));
    let got = (st.st_mode, st.st_nlink, st.st_size);
    if want != got {
        return Err(format!(
            "{}: {path} has mode {:o}, {} links, {} bytes; it should have {:o}, {}, {}",
            side.fs, got.0, got.1, got.2, want.0, want.1, want.2
        ));
    }
    Ok(())
}

fn holds(side: &Side, path: &str, view: View, want: &[u8]) -> Fair {
    let what = format!("{}: {path}, {view:?}", side.fs);
    let got = side.look(path, view).map_err(|e| format!("{what}: {e}"))?;
    match diff_at(&got, want) {
        Some(d) => Err(format!("{what}: {d}")),
        None => Ok(()),
    }
}

const VIEWS: [View; 4] = [View::Seek, View::Buffered, View::Mapped, View::Direct];

/// Everything, in every way there is; again as the disk has it. Then all of it goes. The twin is
/// not looked at: that it does these things right is not the question.
fn finish(world: &World, model: &Model) -> Fair {
    let [ours, twin] = &world.sides;
    whole(ours, model, &VIEWS)?;
    ours.sync().map_err(|e| e.to_string())?;
    evict().map_err(|e| e.to_string())?;
    whole(ours, model, &[View::Buffered]).map_err(|e| format!("after eviction: {e}"))?;
    ours.end()?;
    twin.end()
        .or_else(|e| if twin.strayed.get() { Ok(()) } else { Err(e) })
}

fn whole(side: &Side, model: &Model, views: &[View]) -> Fair {
    directory(side, model, "", ROOT)?;
    for (path, id) in model.tree.paths() {
        let st = sys::lstat(&side.path(&path)).map_err(|e| format!("{}: {e}", side.fs))?;
        attributes(side, model, (&path, id), &st)?;
        match &model.tree.at(id).kind {
            Kind::File(data) => {
                for view in views {
                    holds(side, &path, *view, data)?;
                }
            }
            Kind::Dir(_) => directory(side, model, &path, id)?,
            Kind::Symlink => {
                let target = sys::readlink(&side.path(&path)).map_err(|e| e.to_string())?;
                if target != TARGET.as_bytes() {
                    return Err(format!("{}: {path} leads to {target:?}", side.fs));
                }
            }
        }
    }
    Ok(())
}

/// What readdir(3) says.
fn directory(side: &Side, model: &Model, path: &str, id: usize) -> Fair {
    let got = said(names(&side.path(path)), "readdir")?;
    let want: Vec<String> = model
        .tree
        .entries(id)
        .into_iter()
        .flatten()
        .map(|e| e.0.clone())
        .collect();
    if got != want {
        return Err(format!(
            "{}: /{path} has {got:?}, it should have {want:?}",
            side.fs
        ));
    }
    Ok(())
}
