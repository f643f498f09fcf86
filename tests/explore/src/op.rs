// SPDX-License-Identifier: GPL-2.0
//! The grammar: what a thread under test may do, and how it is written down.

use std::fmt;
use std::str::FromStr;

/// The files have no byte behind this one.
pub const MOST: u64 = 16384;

macro_rules! verbs {
    ($($name:ident $short:literal $words:literal,)+) => {
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
        pub enum Verb {
            $($name,)+
        }

        impl Verb {
            pub const ALL: &'static [Verb] = &[$(Verb::$name,)+];

            /// As it stands in a schedule.
            pub fn short(self) -> &'static str {
                match self {
                    $(Verb::$name => $short,)+
                }
            }

            fn words(self) -> &'static str {
                match self {
                    $(Verb::$name => $words,)+
                }
            }
        }
    };
}

impl Verb {
    /// May it need blocks? A full disk may refuse it then. What was taken before must get there
    /// all the same, and to look at it needs none.
    pub fn wants_space(self) -> bool {
        use Verb::*;
        let writes = matches!(self, BufferedWrite | DirectWrite | AsyncWrite | Store);
        let plans = matches!(self, Allocate | KeepSize | Zero | ZeroKeep);
        writes || plans || matches!(self, Punch | Truncate)
    }
}

verbs! {
    BufferedWrite "bw" "buffered write",
    BufferedRead "br" "buffered read",
    DirectWrite "dw" "direct write",
    DirectRead "dr" "direct read",
    AsyncWrite "aw" "asynchronous direct write",
    Store "st" "store through a mapping",
    Load "ld" "load from a mapping",
    Punch "pu" "punch",
    Zero "ze" "zero range",
    ZeroKeep "zk" "zero range, size kept",
    Allocate "al" "allocate",
    KeepSize "ks" "allocate, size kept",
    Truncate "tr" "truncate",
    Fsync "fs" "fsync",
    SyncRange "sr" "sync_file_range",
    Evict "ev" "write back and drop the pages of",
    Collapse "co" "MADV_COLLAPSE",
    Freeze "fr" "freeze and thaw",
    SeekData "sd" "SEEK_DATA",
    SeekHole "sh" "SEEK_HOLE",
    Fiemap "fm" "FIEMAP",
    Commit "cm" "commit, by fsync of another file",
}

impl Verb {
    /// The files it is about have bytes where it says so, and not elsewhere.
    pub fn has_range(self) -> bool {
        use Verb::*;
        !matches!(
            self,
            Truncate | Fsync | Evict | Collapse | Freeze | SeekData | SeekHole | Commit
        )
    }

    /// It says where in the file.
    fn has_place(self) -> bool {
        use Verb::*;
        self.has_range() || matches!(self, Truncate | SeekData | SeekHole)
    }

    /// Whole sectors only.
    pub fn is_direct(self) -> bool {
        matches!(
            self,
            Verb::DirectWrite | Verb::DirectRead | Verb::AsyncWrite
        )
    }

    /// It comes back with bytes of the file.
    pub fn reads(self) -> bool {
        matches!(self, Verb::BufferedRead | Verb::DirectRead)
    }

    /// It leaves its letter in the file.
    pub fn writes(self) -> bool {
        use Verb::*;
        matches!(self, BufferedWrite | DirectWrite | AsyncWrite | Store)
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Op {
    pub verb: Verb,
    /// Which of the files.
    pub file: u8,
    pub at: u64,
    pub len: u64,
}

/// The names of the files.
pub const FILES: &[char] = &['a', 'b'];

impl Op {
    pub fn end(&self) -> u64 {
        self.at + self.len
    }

    /// In a sentence.
    pub fn words(&self) -> String {
        let (verb, file) = (self.verb.words(), FILES[usize::from(self.file)]);
        match self.verb {
            Verb::Truncate => format!("{verb} {file} to {}", self.at),
            Verb::Freeze | Verb::Commit => verb.to_string(),
            v if v.has_range() => format!("{verb} {file} {}..{}", self.at, self.end()),
            v if v.has_place() => format!("{verb} {file} from {}", self.at),
            _ => format!("{verb} {file}"),
        }
    }
}

impl fmt::Display for Op {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.verb.short(), FILES[usize::from(self.file)])?;
        if self.verb.has_place() {
            write!(f, ".{}", self.at)?;
        }
        if self.verb.has_range() {
            write!(f, "+{}", self.len)?;
        }
        Ok(())
    }
}

impl FromStr for Op {
    type Err = String;

    fn from_str(text: &str) -> Result<Op, String> {
        let mut parts = text.split('.');
        let (verb, file) = (parts.next().unwrap_or(""), parts.next().unwrap_or(""));
        let verb = Verb::ALL.iter().find(|v| v.short() == verb);
        let verb = *verb.ok_or_else(|| format!("no such operation: {text}"))?;
        let file = FILES.iter().position(|f| file == f.to_string());
        let file = file.ok_or_else(|| format!("no such file: {text}"))?;
        let bad = || format!("no such place: {text}");
        let number = |word: &str| word.parse::<u64>().map_err(|_| bad());
        let (at, len) = match (parts.next(), verb.has_range()) {
            (Some(place), true) => {
                let (at, len) = place.split_once('+').ok_or_else(bad)?;
                (number(at)?, number(len)?)
            }
            (Some(at), false) if verb.has_place() => (number(at)?, 0),
            (None, false) if !verb.has_place() => (0, 0),
            _ => return Err(bad()),
        };
        let op = Op {
            verb,
            file: file as u8,
            at,
            len,
        };
        if parts.next().is_some() || at.saturating_add(len) > MOST {
            return Err(bad());
        }
        if verb.has_range() && len == 0 || verb.is_direct() && (at | len) % 512 != 0 {
            return Err(bad());
        }
        Ok(op)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_and_back() {
        for text in ["bw.a.0+4096", "tr.b.512", "fs.a", "sd.a.1024", "cm.a"] {
            assert_eq!(text.parse::<Op>().unwrap().to_string(), text);
        }
        let wrong = [
            "",
            "xx.a",
            "bw.c.0+1",
            "bw.a",
            "bw.a.0",
            "bw.a.0+0",
            "fs.a.1",
            "dw.a.1+512",
            "bw.a.16384+1",
            "tr.a.1.2",
            "tr.a.x",
        ];
        for text in wrong {
            assert!(text.parse::<Op>().is_err(), "{text}");
        }
    }

    #[test]
    fn names_are_unique() {
        for (i, v) in Verb::ALL.iter().enumerate() {
            assert!(Verb::ALL[i + 1..].iter().all(|w| w.short() != v.short()));
        }
    }
}
