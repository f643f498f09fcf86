// SPDX-License-Identifier: GPL-2.0
//! The module's lab: points where threads can be made to wait, switches that take a protection
//! away. What a session has armed or switched off ends when its file is closed.

use guest::sys::{self, Fd, Sys};
use std::fmt::Display;

pub const PATH: &str = "/sys/kernel/debug/rext4/lab";

pub struct Control(Fd);

/// Where a stepped thread is parked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parked {
    pub tid: i32,
    pub point: String,
    pub ino: u64,
    /// Bytes of the file; without an end it is open.
    pub start: u64,
    pub end: Option<u64>,
    /// What the point can be told to return.
    pub errors: Vec<String>,
}

impl Parked {
    /// `parked TID POINT INO START END [ERROR,ERROR...]`
    fn parse(line: &str) -> Option<Parked> {
        let mut words = line.strip_prefix("parked ")?.split_whitespace();
        Some(Parked {
            tid: words.next()?.parse().ok()?,
            point: words.next()?.into(),
            ino: words.next()?.parse().ok()?,
            start: words.next()?.parse().ok()?,
            end: match words.next()? {
                "-" => None,
                end => Some(end.parse().ok()?),
            },
            errors: words
                .next()
                .map_or(vec![], |w| w.split(',').map(str::to_string).collect()),
        })
    }
}

impl Control {
    pub fn open() -> Sys<Control> {
        Ok(Control(sys::open(PATH, libc::O_RDWR, 0)?))
    }

    fn command(&self, text: &str) -> Sys<()> {
        self.0
            .write(text.as_bytes())
            .map(|_| ())
            .map_err(|e| sys::SysErr {
                what: format!("lab: {text}"),
                ..e
            })
    }

    /// `filter`: ` ino=N tid=N pos=N len=N`, each of them optional.
    pub fn arm(&self, point: &str, filter: &str) -> Sys<()> {
        self.command(&format!("arm {point}{filter}"))
    }

    pub fn wait(&self, point: &str, ms: u32) -> Sys<()> {
        self.command(&format!("wait {point} {ms}"))
    }

    pub fn release(&self, point: &str) -> Sys<()> {
        self.command(&format!("release {point}"))
    }

    /// The thread (or `workers`: those of the kernel) parks at every point from now on.
    pub fn step(&self, who: impl Display) -> Sys<()> {
        self.command(&format!("step {who}"))
    }

    pub fn unstep(&self, who: impl Display) -> Sys<()> {
        self.command(&format!("unstep {who}"))
    }

    /// The thread goes on; the point returns the error, if there is one.
    pub fn go(&self, tid: i32, error: Option<&str>) -> Sys<()> {
        let error = error.map_or(String::new(), |e| format!(" {e}"));
        self.command(&format!("go {tid}{error}"))
    }

    /// Waits until a thread is parked that was not told of yet.
    pub fn settle(&self, ms: u32) -> Sys<()> {
        self.command(&format!("settle {ms}"))
    }

    /// Who is parked, and where.
    pub fn parked(&self) -> Sys<Vec<Parked>> {
        // All of it comes at once: a line for each of at most 32 threads.
        let mut text = vec![0; 1 << 13];
        let n = self.0.pread_once(&mut text, 0)?;
        let text = String::from_utf8_lossy(&text[..n]);
        Ok(text.lines().filter_map(Parked::parse).collect())
    }

    /// The names of all points. Of a session that steps nobody.
    pub fn points(&self) -> Sys<Vec<String>> {
        let mut text = vec![0; 1 << 16];
        let n = self.0.pread(&mut text, 0)?;
        let text = String::from_utf8_lossy(&text[..n]);
        let lines = text.lines().filter_map(|l| l.strip_prefix("point "));
        let names = lines.filter_map(|l| l.split(' ').next());
        Ok(names.map(String::from).collect())
    }

    pub fn off(&self, switch: &str) -> Sys<()> {
        self.command(&format!("off {switch}"))
    }
}

/// Is there a lab in the module that is loaded? Mounts debugfs if need be.
pub fn available() -> Result<(), String> {
    let debugfs = "/sys/kernel/debug";
    if !sys::exists(PATH) && std::fs::read_dir(debugfs).map_or(true, |mut d| d.next().is_none()) {
        let _ = sys::mount("debugfs", debugfs, "debugfs", 0, "");
    }
    match sys::exists(PATH) {
        true => Ok(()),
        false => Err(format!(
            "there is no {PATH}: load a module that was built with `make LAB=1`"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parked_lines() {
        let parked = Parked::parse("parked 12 allocate 13 0 4096 EIO,ENOSPC").unwrap();
        assert_eq!((parked.tid, parked.ino, parked.end), (12, 13, Some(4096)));
        assert_eq!(parked.errors, ["EIO", "ENOSPC"]);
        let open = Parked::parse("parked 12 punch-invalidated 13 7 - ").unwrap();
        assert_eq!((open.start, open.end), (7, None));
        assert!(open.errors.is_empty());
        assert_eq!(Parked::parse("point allocate idle"), None);
    }
}
