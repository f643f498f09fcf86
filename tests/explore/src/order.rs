// SPDX-License-Identifier: GPL-2.0
//! An order: who goes on, time after time, and with which error.

use crate::program::{thread_name, Program, KERNEL, THREADS};
use std::fmt;
use std::str::FromStr;

/// An error that a point can return.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fault {
    Io,
    NoMemory,
    NoSpace,
    Again,
    Interrupted,
}

impl Fault {
    const ALL: &'static [(Fault, char, &'static str, i32)] = &[
        (Fault::Io, 'e', "EIO", libc::EIO),
        (Fault::NoMemory, 'm', "ENOMEM", libc::ENOMEM),
        (Fault::NoSpace, 's', "ENOSPC", libc::ENOSPC),
        (Fault::Again, 'a', "EAGAIN", libc::EAGAIN),
        (Fault::Interrupted, 'i', "EINTR", libc::EINTR),
    ];

    fn row(self) -> &'static (Fault, char, &'static str, i32) {
        &Fault::ALL[self as usize]
    }

    /// As the lab writes it.
    pub fn name(self) -> &'static str {
        self.row().2
    }

    pub fn errno(self) -> i32 {
        self.row().3
    }

    pub fn of(name: &str) -> Option<Fault> {
        Fault::ALL.iter().find(|f| f.2 == name).map(|f| f.0)
    }
}

/// A thread goes on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Go {
    pub thread: usize,
    pub fault: Option<Fault>,
}

/// Who goes on, from the beginning. What comes behind is up to who runs it.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Order(pub Vec<Go>);

impl fmt::Display for Order {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for same in self.0.chunk_by(|a, b| a == b) {
            write!(f, "{}", thread_name(same[0].thread))?;
            if let Some(fault) = same[0].fault {
                write!(f, "{}", fault.row().1)?;
            }
            if same.len() > 1 {
                write!(f, "{}", same.len())?;
            }
        }
        Ok(())
    }
}

impl FromStr for Order {
    type Err = String;

    fn from_str(text: &str) -> Result<Order, String> {
        let mut out = Vec::new();
        let mut rest = text.chars().peekable();
        while let Some(name) = rest.next() {
            let thread = (0..THREADS + KERNEL).find(|t| thread_name(*t) == name);
            let thread = thread.ok_or_else(|| format!("no such thread: {name} in {text}"))?;
            let fault = rest.peek().and_then(|c| {
                let mut all = Fault::ALL.iter();
                all.find(|f| f.1 == *c).map(|f| f.0)
            });
            if fault.is_some() {
                rest.next();
            }
            let mut digits = String::new();
            while let Some(digit) = rest.next_if(char::is_ascii_digit) {
                digits.push(digit);
            }
            let count: usize = match digits.as_str() {
                "" => 1,
                digits => digits.parse().map_err(|_| format!("no number: {digits}"))?,
            };
            if count == 0 || out.len() + count > 10_000 {
                return Err(format!("so many times: {count}"));
            }
            out.extend(std::iter::repeat_n(Go { thread, fault }, count));
        }
        Ok(Order(out))
    }
}

/// All that is needed to do the same again.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Schedule {
    pub program: Program,
    pub order: Order,
}

impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.program, self.order)
    }
}

impl FromStr for Schedule {
    type Err = String;

    fn from_str(text: &str) -> Result<Schedule, String> {
        let (program, order) = text.rsplit_once(':').ok_or("no ':' in it")?;
        let program: Program = program.parse()?;
        let order: Order = order.parse()?;
        let threads = program.threads.len()..THREADS;
        match order.0.iter().any(|go| threads.contains(&go.thread)) {
            true => Err("a thread of the order has no operations".into()),
            false => Ok(Schedule { program, order }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_and_back() {
        for text in [
            "4k,written:bw.a.0+4096/pu.a.0+4096:A3BAe2B12",
            "4kw,written:bw.a.0+4096:AWeAX2",
            "1k,empty:fs.a/fs.a:",
        ] {
            assert_eq!(text.parse::<Schedule>().unwrap().to_string(), text);
        }
        let same = "AABAeAe".parse::<Order>().unwrap();
        assert_eq!((same.0.len(), same.to_string().as_str()), (5, "A2BAe2"));
        for text in [
            "4k,written:bw.a.0+4096",
            "4k,written:bw.a.0+4096:B",
            "4k,written:bw.a.0+4096:Z",
            "4k,written:bw.a.0+4096:A0",
            "4k,written:bw.a.0+4096:A99999999999999999999",
        ] {
            assert!(text.parse::<Schedule>().is_err(), "{text}");
        }
    }

    #[test]
    fn faults_have_their_row() {
        for (fault, _, name, _) in Fault::ALL {
            assert_eq!(fault.name(), *name);
            assert_eq!(Fault::of(name), Some(*fault));
        }
    }
}
