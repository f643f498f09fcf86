// SPDX-License-Identifier: GPL-2.0
//! What the log of a mount's context says when it is refused: that is what mount(8) prints.

use crate::fixture::{put, run_cmd, MNT, T};
use crate::harness::{Case, Res, ONE};
use crate::sys::{self, Fd, Sys, SysErr};
use crate::{ensure, errno, fail, skip};
use std::ffi::CString;

pub const CASES: &[Case] = &[
    Case::new("refusals/mount", ONE, mount).quick(),
    Case::new("refusals/remount", ONE, remount).quick(),
    Case::new("refusals/options_of_ext4", ONE, of_ext4).quick(),
];

const SET_FLAG: u32 = 0;
const SET_STRING: u32 = 1;
const CREATE: u32 = 6;
const RECONFIGURE: u32 = 7;

fn number(r: i64, what: &str) -> Sys<i64> {
    match r {
        r if r < 0 => Err(SysErr {
            what: what.to_string(),
            errno: sys::errno(),
        }),
        r => Ok(r),
    }
}

/// A context of the mount calls, with its log.
struct Context(Fd);

impl Context {
    fn of(call: i64, arg: &str, more: [i32; 2]) -> Sys<Context> {
        let text = CString::new(arg).unwrap_or_default();
        // SAFETY: fsopen(name, flags) or fspick(dirfd, path, flags) with a NUL-terminated string.
        let r = unsafe {
            match call {
                libc::SYS_fsopen => libc::syscall(call, text.as_ptr(), more[1]),
                _ => libc::syscall(call, more[0], text.as_ptr(), more[1]),
            }
        };
        Ok(Context(Fd {
            raw: number(r, arg)? as i32,
            name: arg.to_string(),
        }))
    }

    fn new(fs: &str) -> Sys<Context> {
        Context::of(libc::SYS_fsopen, fs, [0, 0])
    }

    fn pick(dir: &str) -> Sys<Context> {
        Context::of(libc::SYS_fspick, dir, [libc::AT_FDCWD, 0])
    }

    fn config(&self, cmd: u32, key: &str, value: &str) -> Sys<()> {
        let (k, v) = (
            CString::new(key).unwrap_or_default(),
            CString::new(value).unwrap_or_default(),
        );
        let or_null = |s: &CString| match s.is_empty() {
            true => std::ptr::null(),
            false => s.as_ptr(),
        };
        // SAFETY: NUL-terminated strings, or null where the command takes none.
        let r = unsafe {
            libc::syscall(
                libc::SYS_fsconfig,
                self.0.raw,
                cmd,
                or_null(&k),
                or_null(&v),
                0,
            )
        };
        number(r, &format!("fsconfig {cmd} {key}={value}")).map(|_| ())
    }

    fn option(&self, text: &str) -> Sys<()> {
        match text.split_once('=') {
            Some((key, value)) => self.config(SET_STRING, key, value),
            None => self.config(SET_FLAG, text, ""),
        }
    }

    /// All messages so far.
    fn log(&self) -> String {
        let mut all = String::new();
        let mut line = [0u8; 1024];
        loop {
            // SAFETY: the buffer is valid for its length.
            let n = unsafe { libc::read(self.0.raw, line.as_mut_ptr().cast(), line.len()) };
            if n <= 0 {
                return all;
            }
            all += &String::from_utf8_lossy(&line[..n as usize]);
        }
    }
}

/// The mount must fail, and say this.
fn refused(t: &T, options: &[&str], want: &str) -> Res {
    let c = Context::new(&t.fs)?;
    let tried = c
        .config(SET_STRING, "source", &t.dev)
        .and_then(|()| options.iter().try_for_each(|o| c.option(o)))
        .and_then(|()| c.config(CREATE, "", ""));
    let log = c.log();
    ensure!(tried.is_err(), "{options:?}: mounted, want '{want}'");
    let told = log.lines().any(|l| l.starts_with("e ") && l.contains(want));
    ensure!(told, "{options:?}: the log says '{log}', want '{want}'");
    Ok(())
}

/// What stands in lines of fstab for ext4: taken, or refused where a promise could not be kept.
fn of_ext4(t: &mut T) -> Res {
    t.mkfs(64, &[])?;
    for line in [
        "errors=remount-ro",
        "commit=30,lazytime",
        "data=ordered",
        "data=writeback",
        "user_xattr,acl",
        "discard",
        "delalloc,journal_checksum",
        "stripe=256,inode_readahead_blks=32",
        "nobarrier,init_itable=10,block_validity,nodelalloc",
        "journal_ioprio=3,min_batch_time=0,max_batch_time=15000,data_err=ignore",
        "nodiscard,dioread_nolock,mb_optimize_scan=1,nombcache,bsddf,nogrpid",
        "grpid,minixdf,resuid=1000,resgid=1000,max_dir_size_kb=1000000",
    ] {
        t.forget_log();
        t.mount(line)?;
        put(&t.p("f"), 1, 1000)?;
        t.remount(libc::MS_RDONLY, line)?;
        t.umount()?;
    }
    if t.ours() {
        let c = Context::new(&t.fs)?;
        c.option("i_version")?;
        c.option("nodelalloc")?;
        let log = c.log();
        ensure!(
            log.starts_with("w ") && log.contains("when data is written back"),
            "'{log}'"
        );
        for (option, want) in [
            ("data=journal", "cannot be journaled"),
            ("usrquota", "quotas"),
            ("nouid32", "32 bits"),
            ("resuid=me", "number"),
            ("resgid=4294967296", "number"),
            ("minixdf=1", "no value"),
            ("dax=always", "dax=always: "),
            ("dax=perhaps", "always, inode or never"),
        ] {
            refused(t, &[option], want)?;
            errno!(t.try_mount(0, option), EINVAL);
        }
        errno!(t.try_mount(0, "stripe=many"), EINVAL);
    }
    Ok(())
}

/// A refused mount says why in a sentence.
fn mount(t: &mut T) -> Res {
    if !t.ours() {
        skip!("the sentences are not the kernel ext4's");
    }
    t.mkfs(64, &[])?;
    refused(t, &["errors=perhaps"], "errors=")?;
    refused(t, &["commit=never"], "commit=")?;
    refused(t, &["norecovery"], "norecovery needs a read-only mount")?;
    let tune = |what: &[&str]| -> Res {
        let mut args = what.to_vec();
        args.push(&t.dev);
        let (code, text) = run_cmd("tune2fs", &args)?;
        ensure!(code == 0, "tune2fs {what:?}: {text}");
        Ok(())
    };
    tune(&["-O", "project,quota"])?;
    refused(t, &[], "feature quota can only be mounted read-only")?;
    t.mkfs(64, &["-O", "^has_journal"])?;
    refused(t, &[], "no journal")?;
    t.mkfs(64, &["-O", "inline_data"])?;
    refused(t, &["ro"], "inline_data")?;
    t.mkfs(64, &[])?;
    let root = t.peek(1024 + 96, 1)?;
    t.debugfs(&["sif <2> mode 0100644"])?;
    t.broken = true;
    refused(t, &["ro"], "run e2fsck")?;
    t.poke(1024 + 96, &[root[0] ^ 4])?;
    refused(t, &["ro"], "checksum")?;
    t.poke(1024 + 0x38, &[0, 0])?;
    refused(t, &[], "no ext4 magic")
}

/// A refused remount says why in a sentence.
fn remount(t: &mut T) -> Res {
    if !t.ours() {
        skip!("the sentences are not the kernel ext4's");
    }
    crate::cases::damage::errors::with_bad_file(t)?;
    t.mount("errors=remount-ro")?;
    let c = Context::pick(MNT)?;
    c.option("norecovery")?;
    let r = c.config(RECONFIGURE, "", "");
    let log = c.log();
    ensure!(
        r.is_err() && log.contains("norecovery needs a read-only mount"),
        "the log says '{log}'"
    );
    crate::cases::damage::errors::meet(t)?;
    t.remount(libc::MS_RDONLY, "")?;
    let c = Context::pick(MNT)?;
    c.option("rw")?;
    let r = c.config(RECONFIGURE, "", "");
    let log = c.log();
    match r {
        Ok(()) => fail!("remounted read-write after errors"),
        Err(_) => ensure!(log.contains("after errors"), "the log says '{log}'"),
    }
    drop(c);
    t.umount()
}
