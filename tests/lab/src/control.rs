// SPDX-License-Identifier: GPL-2.0
//! The module's lab: points where threads can be made to wait, switches that take a protection
//! away. What a session has armed or switched off ends when its file is closed.

use guest::sys::{self, Fd, Sys};

pub const PATH: &str = "/sys/kernel/debug/rext4/lab";

pub struct Control(Fd);

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
