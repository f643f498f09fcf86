// SPDX-License-Identifier: GPL-2.0
//! Results, checks and the list of cases.

use crate::fixture::T;
use crate::sys::{errname, SysErr};

/// Why a case did not pass.
#[derive(Debug)]
pub enum Stop {
    Fail(String),
    /// A facility the case needs is missing; the text says which.
    Skip(String),
}

impl std::fmt::Display for Stop {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Stop::Fail(s) => f.write_str(s),
            Stop::Skip(s) => write!(f, "cannot run: {s}"),
        }
    }
}

pub type Res<R = ()> = Result<R, Stop>;

impl From<SysErr> for Stop {
    #[track_caller]
    fn from(e: SysErr) -> Stop {
        let l = std::panic::Location::caller();
        Stop::Fail(format!("{e} [{}:{}]", l.file(), l.line()))
    }
}

impl From<std::io::Error> for Stop {
    #[track_caller]
    fn from(e: std::io::Error) -> Stop {
        let l = std::panic::Location::caller();
        Stop::Fail(format!("{e} [{}:{}]", l.file(), l.line()))
    }
}

#[macro_export]
macro_rules! fail {
    ($($a:tt)*) => {
        return Err($crate::harness::Stop::Fail(
            format!("{} [{}:{}]", format!($($a)*), file!(), line!())))
    };
}

#[macro_export]
macro_rules! skip {
    ($($a:tt)*) => {
        return Err($crate::harness::Stop::Skip(format!($($a)*)))
    };
}

#[macro_export]
macro_rules! ensure {
    ($c:expr, $($a:tt)*) => {
        if !($c) {
            $crate::fail!($($a)*)
        }
    };
}

/// `same!(got, want, "what")`
#[macro_export]
macro_rules! same {
    ($g:expr, $w:expr, $($a:tt)*) => {{
        let (g, w) = (&$g, &$w);
        if g != w {
            $crate::fail!("{}: got {:?}, want {:?}", format!($($a)*), g, w)
        }
    }};
}

/// `errno!(call, ENOENT | EPERM)`: the call must fail with one of these.
#[macro_export]
macro_rules! errno {
    ($c:expr, $($e:ident)|+) => {{
        let r = $c.map(|_| ());
        $crate::harness::want_errno(r, &[$(libc::$e),+], file!(), line!())?;
    }};
}

pub fn want_errno(r: Result<(), SysErr>, want: &[i32], file: &str, line: u32) -> Res {
    let names = || {
        want.iter()
            .map(|e| errname(*e))
            .collect::<Vec<_>>()
            .join(" or ")
    };
    match r {
        Ok(()) => Err(Stop::Fail(format!(
            "succeeded, want {} [{file}:{line}]",
            names()
        ))),
        Err(e) if want.contains(&e.errno) => Ok(()),
        Err(e) => Err(Stop::Fail(format!("{e}, want {} [{file}:{line}]", names()))),
    }
}

/// The image a case runs on.
#[derive(Clone, Copy, Debug)]
pub struct Variant {
    pub name: &'static str,
    pub bs: usize,
    /// For `mke2fs -O`.
    pub feats: &'static str,
}

pub const K1: Variant = Variant {
    name: "1k",
    bs: 1024,
    feats: "",
};
pub const K2: Variant = Variant {
    name: "2k",
    bs: 2048,
    feats: "",
};
pub const K4: Variant = Variant {
    name: "4k",
    bs: 4096,
    feats: "",
};
pub const NOCSUM: Variant = Variant {
    name: "nocsum",
    bs: 4096,
    feats: "^metadata_csum,^64bit",
};
pub const NOCSUM1K: Variant = Variant {
    name: "nocsum1k",
    bs: 1024,
    feats: "^metadata_csum,^64bit",
};
pub const ORPHAN: Variant = Variant {
    name: "orphan_file",
    bs: 4096,
    feats: "orphan_file,metadata_csum_seed",
};

/// As ext3 has it: block maps, and no checksums.
pub const EXT3_1K: Variant = Variant {
    name: "ext3_1k",
    bs: 1024,
    feats: "^extent,^64bit,^huge_file,^flex_bg,^metadata_csum,^dir_nlink,^extra_isize",
};
pub const EXT3_2K: Variant = Variant {
    name: "ext3_2k",
    bs: 2048,
    feats: "^extent,^64bit,^huge_file,^flex_bg,^metadata_csum,^dir_nlink,^extra_isize",
};
/// Block maps, and all else of ext4.
pub const POINTERS: Variant = Variant {
    name: "pointers",
    bs: 4096,
    feats: "^extent,^64bit",
};

pub const ONE: &[Variant] = &[K4];
pub const SMALL: &[Variant] = &[K1];
pub const ALL: &[Variant] = &[K1, K2, K4];
/// Files by extents, and by block maps.
pub const BOTH_MAPS: &[Variant] = &[K1, K2, EXT3_1K, POINTERS, K4];
pub const MAPS: &[Variant] = &[EXT3_1K, EXT3_2K, POINTERS];
pub const FEATS: &[Variant] = &[K1, K4, NOCSUM, ORPHAN];

pub struct Case {
    pub name: &'static str,
    pub vars: &'static [Variant],
    /// Part of `--quick`, on its last variant only.
    pub quick: bool,
    /// Deadline on a machine at native speed.
    pub secs: u64,
    pub run: fn(&mut T) -> Res,
}

impl Case {
    pub const fn new(name: &'static str, vars: &'static [Variant], run: fn(&mut T) -> Res) -> Case {
        Case {
            name,
            vars,
            quick: false,
            secs: 60,
            run,
        }
    }

    pub const fn quick(self) -> Case {
        Case {
            quick: true,
            ..self
        }
    }

    pub const fn secs(self, secs: u64) -> Case {
        Case { secs, ..self }
    }
}

/// One case on one variant.
#[derive(Clone, Copy)]
pub struct Job {
    pub case: &'static Case,
    pub var: Variant,
}

impl Job {
    pub fn name(&self) -> String {
        format!("{}@{}", self.case.name, self.var.name)
    }
}

/// All jobs in order; `filter` words select by substring, any of them.
pub fn jobs(sets: &[&'static [Case]], filter: &[String], quick: bool) -> Vec<Job> {
    let mut out = Vec::new();
    for set in sets {
        for case in set.iter() {
            for (i, var) in case.vars.iter().enumerate() {
                let job = Job { case, var: *var };
                if quick && (!case.quick || i + 1 != case.vars.len()) {
                    continue;
                }
                let name = job.name();
                let hit = |f: &String| match f.strip_prefix('=') {
                    Some(exact) => name == exact,
                    None => name.contains(f.as_str()),
                };
                if filter.is_empty() || filter.iter().any(hit) {
                    out.push(job);
                }
            }
        }
    }
    out
}

/// One of `of` shares of the jobs, so that each has some of all kinds.
#[derive(Clone, Copy)]
pub struct Share {
    number: usize,
    of: usize,
}

impl std::str::FromStr for Share {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let numbers = text.split_once('/');
        let share = numbers.and_then(|(number, of)| Some((number.parse().ok()?, of.parse().ok()?)));
        match share {
            Some((number, of)) if (1..=of).contains(&number) => Ok(Self { number, of }),
            _ => Err("a share is a number and how many there are, such as 1/2".into()),
        }
    }
}

impl Share {
    pub fn reduce(self, jobs: &mut Vec<Job>) {
        let mut n = 0;
        jobs.retain(|_| {
            n += 1;
            n % self.of == self.number % self.of
        });
    }
}
