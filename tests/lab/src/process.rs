// SPDX-License-Identifier: GPL-2.0
//! Programs beside the scenario. A thread that waits for ever ends with the whole process only; one
//! of these can be killed alone, and the scenario looks at what is left.

use crate::race::{Res, Stop};
use crate::thread::{watch, Found, Task};
use crate::tracing::mark;
use guest::sys::{self, Sys, SysErr};
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::time::{Duration, Instant};

/// Asleep at one place for so long, with nothing left to wait for, it hangs.
const HANG: Duration = Duration::from_secs(4);
/// How long a killed process may take to its end.
const DYING: Duration = Duration::from_secs(60);

pub struct Process {
    name: String,
    pid: i32,
    result: UnixStream,
    reaped: bool,
    for_good: bool,
}

/// Starts a process, which does `part`: a system call, and what it returned. Its name is its column
/// in the picture, `words` its first step there.
pub fn spawn(name: &str, words: &str, part: impl FnOnce() -> Sys<usize>) -> Res<Process> {
    let stop = |e: &str| Stop::Broken(format!("process {name}: {e}"));
    let (result, mut tell) = UnixStream::pair().map_err(|e| stop(&e.to_string()))?;
    // SAFETY: the child runs what follows and leaves; glibc keeps its allocator usable there.
    let pid = unsafe { libc::fork() };
    if pid < 0 {
        return Err(stop(&sys::errname(sys::errno())));
    }
    if pid > 0 {
        return Ok(Process {
            name: name.to_string(),
            pid,
            result,
            reaped: false,
            for_good: false,
        });
    }
    // SAFETY: plain call.
    unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) };
    let all = AssertUnwindSafe(|| {
        mark(&format!("thread {name}"));
        mark(&format!("step {name}: {words}"));
        let n = part().map_or_else(|e| -i64::from(e.errno), |n| n as i64);
        mark(&format!("done {name}"));
        let _ = tell.write_all(&n.to_ne_bytes());
    });
    let code = catch_unwind(all).map_or(1, |()| 0);
    // SAFETY: nothing of the parent's is run at the exit.
    unsafe { libc::_exit(code) }
}

impl Process {
    /// Not even SIGKILL may end it, and that is harm too. It stays until the machine is reset.
    pub fn for_good(mut self) -> Process {
        self.for_good = true;
        self
    }

    /// What the system call came back with. A process that sleeps for good is a hang: that is harm,
    /// and it is killed.
    pub fn join(mut self) -> Res<Sys<usize>> {
        match watch(&self, HANG)? {
            Found::Done => {
                let mut n = [0; 8];
                let read = self.result.read_exact(&mut n);
                read.map_err(|e| Stop::Broken(format!("{} said nothing: {e}", self.name)))?;
                let what = || format!("process {}", self.name);
                Ok(match i64::from_ne_bytes(n) {
                    n if n < 0 => Err(SysErr {
                        what: what(),
                        errno: -n as i32,
                    }),
                    n => Ok(n as usize),
                })
            }
            Found::Blocked => {
                let words = format!("hang: asleep for {} s", HANG.as_secs());
                mark(&format!("harm {}: {words}", self.name));
                mark(&format!("step {}: is killed", self.name));
                let end = match self.kill() {
                    Ok(()) => "ended by SIGKILL",
                    Err(_) if self.for_good => "and SIGKILL does not end it",
                    Err(e) => return Err(e),
                };
                Err(Stop::Harm(format!("{}: {words}, {end}", self.name)))
            }
        }
    }

    /// Ends it, wherever it is.
    pub fn kill(&mut self) -> Res {
        // SAFETY: plain call; the process is ours and not reaped.
        unsafe { libc::kill(self.pid, libc::SIGKILL) };
        let begun = Instant::now();
        while !self.finished() {
            if begun.elapsed() > DYING {
                // Nothing more can be done about it.
                self.reaped = true;
                return Err(Stop::Broken(format!("{} cannot be killed", self.name)));
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        self.reap();
        Ok(())
    }

    fn reap(&mut self) {
        // SAFETY: our child, which has ended.
        unsafe { libc::waitpid(self.pid, std::ptr::null_mut(), 0) };
        self.reaped = true;
    }
}

impl Task for Process {
    fn name(&self) -> &str {
        &self.name
    }

    fn finished(&self) -> bool {
        // SAFETY: looks whether our child has ended and leaves it as it is; zero is a valid value.
        unsafe {
            let mut info: libc::siginfo_t = std::mem::zeroed();
            let how = libc::WEXITED | libc::WNOHANG | libc::WNOWAIT;
            libc::waitid(libc::P_PID, self.pid as libc::id_t, &mut info, how) == 0
                && info.si_pid() == self.pid
        }
    }

    fn folder(&self) -> Option<String> {
        Some(format!("/proc/{}", self.pid))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if !self.reaped {
            let _ = self.kill();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results() {
        let p = spawn("p", "", || Ok(7)).unwrap();
        assert_eq!(p.join().unwrap().unwrap(), 7);
        let p = spawn("p", "", || {
            Err(SysErr {
                what: "".into(),
                errno: libc::EIO,
            })
        });
        assert_eq!(p.unwrap().join().unwrap().unwrap_err().errno, libc::EIO);
    }

    #[test]
    fn hang() {
        let (mut reader, _writer) = UnixStream::pair().unwrap();
        let p = spawn("p", "", || Ok(reader.read(&mut [0]).unwrap_or(0))).unwrap();
        assert_eq!(p.done_or_blocked().unwrap(), Found::Blocked);
        assert!(matches!(p.join(), Err(Stop::Harm(s)) if s.contains("p: hang")));
        let (mut reader, _writer) = UnixStream::pair().unwrap();
        let p = spawn("p", "", || Ok(reader.read(&mut [0]).unwrap_or(0))).unwrap();
        // That it may stay for good does not mean that it does.
        let end = p.for_good().join();
        assert!(matches!(end, Err(Stop::Harm(s)) if s.ends_with("ended by SIGKILL")));
    }
}
