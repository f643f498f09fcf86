// SPDX-License-Identifier: GPL-2.0
//! What is done before the power fails: the operations, what is brought to the disk after each, and
//! how a sequence of them is written.

use crate::table::{call, ACTS};
use model::model::Call;
use model::op::{Image, Name, Op, Sync};

/// A name of the model.
pub fn name(text: &str) -> Name {
    Name::try_from(text.to_string()).expect("a name of the model")
}

/// What comes after an operation.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum After {
    Nothing,
    Fsync,
    Fdatasync,
    /// The operation itself writes with O_DSYNC.
    Dsync,
    /// sync(2), of this file system.
    Sync,
    /// fsync of the directory whose names change.
    Directory,
}

impl After {
    const ALL: [After; 6] = [
        After::Nothing,
        After::Fsync,
        After::Fdatasync,
        After::Dsync,
        After::Sync,
        After::Directory,
    ];

    fn text(self) -> &'static str {
        match self {
            After::Nothing => "",
            After::Fsync => "+fsync",
            After::Fdatasync => "+fdatasync",
            After::Dsync => "+dsync",
            After::Sync => "+sync",
            After::Directory => "+dir",
        }
    }
}

/// One system call of a step.
#[derive(Clone, Copy, Debug)]
pub enum Part {
    Call(Call),
    /// fsync of this directory.
    Directory(&'static str),
    /// The data of this file is on its way to the disk, and nobody waits for it.
    Start(Name),
}

/// Where a step finds its file, and how it writes.
pub struct Scene {
    /// Of the file `a`.
    pub size: u64,
    pub block: u64,
    pub dsync: bool,
}

/// What an operation does: it has the bytes of a write from a number of its own, given later.
type Makes = fn(&Scene) -> Vec<Part>;

pub struct Act {
    pub name: &'static str,
    /// The file that is brought to the disk after it.
    file: Option<&'static str>,
    /// Has bytes to write, so it may do so with O_DSYNC.
    writes: bool,
    /// Changes names in this directory, so it may be brought to the disk.
    names: Option<&'static str>,
    /// Wants a disk on which all but the journal is late.
    late: bool,
    makes: Makes,
}

/// One that changes the file `a`, and no name.
pub const fn act(name: &'static str, makes: Makes) -> Act {
    Act {
        name,
        file: Some("a"),
        writes: false,
        names: None,
        late: false,
        makes,
    }
}

impl Act {
    pub const fn writes(self) -> Act {
        Act {
            writes: true,
            ..self
        }
    }

    pub const fn names(self, file: Option<&'static str>) -> Act {
        Act {
            names: Some(""),
            file,
            ..self
        }
    }

    /// Changes names in another directory.
    pub const fn within(self, dir: &'static str) -> Act {
        Act {
            names: Some(dir),
            file: None,
            ..self
        }
    }

    /// Its file is another one.
    pub const fn on(self, file: &'static str) -> Act {
        Act {
            file: Some(file),
            ..self
        }
    }

    pub const fn late(self) -> Act {
        Act { late: true, ..self }
    }

    pub const fn alone(self) -> Act {
        Act { file: None, ..self }
    }

    /// Whether this makes sense after it.
    fn takes(&self, after: After) -> bool {
        match after {
            After::Nothing => true,
            After::Fsync | After::Fdatasync => self.file.is_some(),
            After::Dsync => self.writes,
            After::Sync => self.file.is_some() || self.names.is_some(),
            After::Directory => self.names.is_some(),
        }
    }
}

/// An operation, and what comes after it.
#[derive(Clone, Copy)]
pub struct Step {
    act: &'static Act,
    after: After,
}

impl Step {
    pub fn text(self) -> String {
        format!("{}{}", self.act.name, self.after.text())
    }

    /// The system calls, on what is there now.
    pub fn parts(self, size: u64, block: u64) -> Vec<Part> {
        let dsync = self.after == After::Dsync;
        let mut parts = (self.act.makes)(&Scene { size, block, dsync });
        let file = name(self.act.file.unwrap_or("b"));
        match self.after {
            After::Nothing | After::Dsync => (),
            After::Fsync => parts.push(call(Op::Sync(file, Sync::Fsync), 0, 0)),
            After::Fdatasync => parts.push(call(Op::Sync(file, Sync::Fdatasync), 0, 0)),
            After::Sync => parts.push(call(Op::Sync(name("b"), Sync::All), 0, 0)),
            After::Directory => parts.push(Part::Directory(self.act.names.unwrap_or_default())),
        }
        parts
    }
}

/// All steps of these operations, in the order of the table; of all operations if none is named.
pub fn steps(acts: &[String]) -> Result<Vec<Step>, String> {
    if let Some(unknown) = acts.iter().find(|a| !ACTS.iter().any(|b| b.name == **a)) {
        let all: Vec<&str> = ACTS.iter().map(|act| act.name).collect();
        return Err(format!(
            "no operation {unknown}; there are {}",
            all.join(", ")
        ));
    }
    let wanted = |act: &&'static Act| acts.is_empty() || acts.iter().any(|a| a == act.name);
    let all = ACTS.iter().filter(wanted).flat_map(|act| {
        let after = After::ALL.into_iter().filter(|after| act.takes(*after));
        after.map(move |after| Step { act, after })
    });
    Ok(all.collect())
}

/// What is done on one image.
#[derive(Clone)]
pub struct Sequence {
    pub image: Image,
    pub steps: Vec<Step>,
}

/// Those with `m` have block maps, those with `e` are encrypted, those with `g` several groups, and
/// those with `o` an orphan file, too.
const IMAGES: [(&str, Image); 8] = [
    ("4k", Image::Block4k),
    ("1k", Image::Block1k),
    ("4km", Image::Maps4k),
    ("1km", Image::Maps1k),
    ("4ke", Image::Crypt4k),
    ("1ke", Image::Crypt1k),
    ("4kg", Image::Groups4k),
    ("1ko", Image::Orphans1k),
];

/// What each list of steps is done on, in turn.
const TURNS: [[Image; 4]; 3] = [
    [
        Image::Block4k,
        Image::Block1k,
        Image::Maps4k,
        Image::Crypt1k,
    ],
    [Image::Block4k, Image::Crypt4k, Image::Maps4k, Image::Maps1k],
    [
        Image::Block4k,
        Image::Orphans1k,
        Image::Groups4k,
        Image::Crypt1k,
    ],
];

impl Sequence {
    /// What is written reaches the disk after a while, but for the journal.
    pub fn is_late(&self) -> bool {
        self.steps.iter().any(|step| step.act.late)
    }

    /// As `4k:append+fsync,punch`.
    pub fn text(&self) -> String {
        let image = IMAGES.iter().find(|i| i.1 == self.image);
        let steps: Vec<String> = self.steps.iter().map(|step| step.text()).collect();
        format!("{}:{}", image.map_or("", |i| i.0), steps.join(","))
    }

    pub fn parse(text: &str) -> Result<Sequence, String> {
        let all = steps(&[])?;
        let (block, list) = text
            .split_once(':')
            .ok_or_else(|| format!("{text}: no image; it should be as 4k:append+fsync,punch"))?;
        let image = IMAGES.iter().find(|i| i.0 == block).ok_or_else(|| {
            let all = IMAGES.map(|i| i.0).join(", ");
            format!("no image {block}; there are {all}")
        })?;
        let mut found = Vec::new();
        for word in list.split(',') {
            let step = all.iter().find(|step| step.text() == word);
            found.push(*step.ok_or_else(|| format!("no step {word}"))?);
        }
        Ok(Sequence {
            image: image.1,
            steps: found,
        })
    }

    /// The sequence of this number: those of one step first, on each image, then those of two, in
    /// an order that the seed gives, and among them some of three.
    pub fn numbered(all: &[Step], seed: u64, number: u64) -> Sequence {
        let images = TURNS[0].len() as u64;
        let (n, s) = (number / images, all.len() as u64);
        let image = TURNS[(n % TURNS.len() as u64) as usize][(number % images) as usize];
        let pick = |n: u64| all[(n % s) as usize];
        let steps = if n < s {
            vec![pick(n)]
        } else {
            let (later, mut random) = (n - s, fastrand::Rng::with_seed(seed << 32 ^ n));
            if later % 8 == 7 || later - later / 8 >= s * s {
                (0..3).map(|_| pick(random.u64(..s))).collect()
            } else {
                let two = shuffled(later - later / 8, s * s, seed);
                vec![pick(two / s), pick(two % s)]
            }
        };
        Sequence { image, steps }
    }
}

/// Each number below `all` once, in an order of this seed.
fn shuffled(n: u64, all: u64, seed: u64) -> u64 {
    let gcd = |mut a: u64, mut b: u64| {
        while b > 0 {
            (a, b) = (b, a % b);
        }
        a
    };
    let start = u64::from(fastrand::Rng::with_seed(seed).u32(..));
    let mut factor: u64 = (start | 1) % all.max(2);
    while gcd(factor.max(1), all) != 1 {
        factor += 1;
    }
    (n % all * factor.max(1) + start) % all
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn each_of_two_comes_once() {
        let all = steps(&["append".to_string(), "punch".to_string()]).unwrap();
        let s = all.len() as u64;
        assert_eq!(s, 9);
        let mut seen = BTreeSet::new();
        let mut n = 0;
        while seen.len() < (s * s + s) as usize {
            let sequence = Sequence::numbered(&all, 3, 4 * n);
            if sequence.steps.len() < 3 {
                assert!(seen.insert(sequence.text()), "{} twice", sequence.text());
            }
            n += 1;
            assert!(n < 200);
        }
        let next = Sequence::numbered(&all, 3, 4 * n);
        assert_eq!(next.steps.len(), 3);
    }

    #[test]
    fn a_sequence_is_its_text() {
        let all = steps(&[]).unwrap();
        for n in 0..2000 {
            let text = Sequence::numbered(&all, 1, n).text();
            assert_eq!(Sequence::parse(&text).unwrap().text(), text);
        }
        for wrong in ["append", "2k:append", "4k:apend", "4k:punch+dsync", "4k:"] {
            assert!(Sequence::parse(wrong).is_err(), "{wrong}");
        }
    }
}
