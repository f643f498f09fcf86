// SPDX-License-Identifier: GPL-2.0

//! Mount options.

mod foreign;
mod in_force;

pub(super) use in_force::InForce;

use self::foreign::Foreign;
use crate::{
    disk::superblock::{default_opts, ErrorPolicy, Geometry},
    vfs::{blkdev::BlockDevice, fs_context::MountLog, fscrypt::DummyVersion},
};
use kernel::{error::code::*, prelude::*, seq_file::SeqFile, seq_print};

/// `ENOPARAM`: an option that is not ours, for the VFS to try.
fn unknown() -> Error {
    const ENOPARAM: i32 = 519;
    Error::from_errno(-ENOPARAM)
}

/// An option of which the super block has the default.
#[derive(Clone, Copy)]
struct OnOff {
    said: Option<bool>,
    default: bool,
}

impl OnOff {
    fn new(default: bool) -> Self {
        let said = None;
        Self { said, default }
    }

    fn is_on(self) -> bool {
        self.said.unwrap_or(self.default)
    }

    /// Shows it if it differs from the default.
    fn show(self, out: &SeqFile, on: &str, off: &str) {
        if self.is_on() != self.default {
            seq_print!(out, ",{}", if self.is_on() { on } else { off });
        }
    }
}

/// Which files are accessed directly: `dax=`. Those that can be: regular ones with extents, and no
/// flag that says otherwise.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Dax {
    /// All.
    Always,
    /// Those with the flag (chattr(1), `x`).
    Inode,
    /// None.
    Never,
}

/// The options of a mount. `None` leaves it to the super block.
#[derive(Clone)]
pub(crate) struct Options {
    /// `errors=continue|remount-ro|panic`.
    pub(crate) errors: Option<ErrorPolicy>,
    /// `commit=SECONDS`: how often the journal commits. 0 is the default of 5.
    pub(crate) commit: u32,
    /// `barrier`, `nobarrier`: whether commits flush the device's cache.
    barrier: OnOff,
    /// `discard`, `nodiscard`: whether the device is told of blocks that were freed.
    discard: OnOff,
    /// `noload`, `norecovery`: do not replay the journal; needs `ro`.
    pub(crate) noload: bool,
    /// `dio_gate`, `nodio_gate`: whether direct writes keep the page cache of their range empty
    /// while they are in flight.
    pub(crate) dio_gate: bool,
    /// `dax`, `dax=always|inode|never`. A remount does not change it.
    pub(crate) dax: Option<Dax>,
    /// `test_dummy_encryption`, with `=v1` or `=v2`: what is made where nothing is encrypted is all
    /// the same.
    pub(crate) dummy: Option<DummyVersion>,
    /// `inlinecrypt`: the device encrypts what files hold, if it can.
    pub(crate) inlinecrypt: bool,
    /// `auto_da_alloc`, `noauto_da_alloc`: whether a file that replaces another one, or its own old
    /// content, is written without being asked.
    pub(crate) auto_da_alloc: bool,
    /// `user_xattr`, `nouser_xattr`: whether there are extended attributes of users.
    pub(crate) user_xattr: bool,
    /// `acl`, `noacl`: whether ACLs are enforced, and can be seen and set.
    pub(crate) acl: bool,
    /// `nombcache`: whether inodes with the same attributes share a block.
    pub(crate) mbcache: bool,
    /// `grpid`, `nogrpid`: whether what is new has the group of its directory.
    grpid: OnOff,
    /// `resuid=`, `resgid=`: who may use the reserved blocks.
    pub(crate) resuid: Option<u32>,
    pub(crate) resgid: Option<u32>,
    /// `minixdf`, `bsddf`: whether statfs counts what the fixed metadata takes.
    pub(crate) minixdf: bool,
    /// `max_dir_size_kb=`: from this size on, in KiB, a directory does not grow; 0 is no limit.
    pub(crate) max_dir_size_kb: u32,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            errors: None,
            commit: 0,
            barrier: OnOff::new(true),
            discard: OnOff::new(false),
            noload: false,
            dio_gate: false,
            dax: None,
            dummy: None,
            inlinecrypt: false,
            auto_da_alloc: true,
            user_xattr: true,
            acl: true,
            mbcache: true,
            grpid: OnOff::new(false),
            resuid: None,
            resgid: None,
            minixdf: false,
            max_dir_size_kb: 0,
        }
    }
}

impl Options {
    /// With the defaults that the super block has (`tune2fs -o`) for what was not said.
    pub(crate) fn with_defaults(&self, geo: &Geometry) -> Self {
        let has = |bit| geo.default_mount_opts & bit != 0;
        let mut this = self.clone();
        this.barrier.default = !has(default_opts::NOBARRIER);
        this.discard.default = has(default_opts::DISCARD);
        this.grpid.default = has(default_opts::BSDGROUPS);
        this
    }

    /// Whether commits flush the device's cache.
    pub(crate) fn barrier(&self) -> bool {
        self.barrier.is_on()
    }

    /// Whether the device is told of blocks that were freed.
    pub(crate) fn discard(&self) -> bool {
        self.discard.is_on()
    }

    /// Takes back what the device has nothing for, and says so.
    pub(crate) fn suit(&mut self, device: &BlockDevice, id: &CStr, log: &MountLog<'_>) {
        if self.discard() && !device.can_discard() {
            self.discard.said = Some(false);
            let what = "option discard: the device cannot discard";
            pr_warn!("{}: {}\n", id, what);
            log.warning(fmt!("{}", what));
        }
    }

    /// Which files are accessed directly, if they can be.
    pub(crate) fn dax(&self) -> Dax {
        self.dax.unwrap_or(Dax::Inode)
    }

    /// Takes one option. `EINVAL` for a bad value.
    pub(crate) fn parse(&mut self, key: &[u8], value: Option<&[u8]>, log: &MountLog<'_>) -> Result {
        let bad = |what: &str| {
            log.error(fmt!("{}", what));
            EINVAL
        };
        match (key, value) {
            (b"errors", Some(b"continue")) => self.errors = Some(ErrorPolicy::Continue),
            (b"errors", Some(b"remount-ro")) => self.errors = Some(ErrorPolicy::RemountRo),
            (b"errors", Some(b"panic")) => self.errors = Some(ErrorPolicy::Panic),
            (b"errors", _) => return Err(bad("errors= is continue, remount-ro or panic")),
            (b"commit", text) => {
                self.commit = text
                    .and_then(number)
                    .ok_or_else(|| bad("commit= is a number of seconds up to 3600"))?;
            }
            (b"barrier", None | Some(b"1")) => self.barrier.said = Some(true),
            (b"nobarrier", None) | (b"barrier", Some(b"0")) => self.barrier.said = Some(false),
            (b"discard" | b"nodiscard", None) => self.discard.said = Some(key == b"discard"),
            (b"noload" | b"norecovery", None) => self.noload = true,
            (b"dio_gate", None) => self.dio_gate = true,
            (b"nodio_gate", None) => self.dio_gate = false,
            (b"dax", None | Some(b"always")) => self.dax = Some(Dax::Always),
            (b"dax", Some(b"inode")) => self.dax = Some(Dax::Inode),
            (b"dax", Some(b"never")) => self.dax = Some(Dax::Never),
            (b"dax", _) => return Err(bad("dax= is always, inode or never")),
            (b"test_dummy_encryption", version) => {
                self.dummy = Some(dummy_version(version).ok_or_else(|| bad(NO_DUMMY))?);
            }
            (b"auto_da_alloc", None | Some(b"1")) => self.auto_da_alloc = true,
            (b"noauto_da_alloc", None) | (b"auto_da_alloc", Some(b"0")) => {
                self.auto_da_alloc = false;
            }
            (b"user_xattr", None) => self.user_xattr = true,
            (b"nouser_xattr", None) => self.user_xattr = false,
            (b"inlinecrypt", None) => self.inlinecrypt = true,
            (b"acl", None) => self.acl = true,
            (b"noacl", None) => self.acl = false,
            (b"nombcache" | b"no_mbcache", None) => self.mbcache = false,
            (b"grpid" | b"bsdgroups", None) => self.grpid.said = Some(true),
            (b"nogrpid" | b"sysvgroups", None) => self.grpid.said = Some(false),
            (b"minixdf", None) => self.minixdf = true,
            (b"bsddf", None) => self.minixdf = false,
            (b"resuid" | b"resgid" | b"max_dir_size_kb", text) => {
                let set = text.and_then(|text| self.set_number(key, text));
                return set.ok_or_else(|| bad("resuid=, resgid= and max_dir_size_kb= are numbers"));
            }
            (b"barrier", _) => return Err(bad("barrier= is 0 or 1")),
            (b"auto_da_alloc", _) => return Err(bad("auto_da_alloc= is 0 or 1")),
            (b"nobarrier" | b"noload" | b"norecovery", _)
            | (b"dio_gate" | b"nodio_gate" | b"noauto_da_alloc" | b"inlinecrypt", _)
            | (b"user_xattr" | b"nouser_xattr" | b"acl" | b"noacl", _)
            | (b"grpid" | b"bsdgroups" | b"nogrpid" | b"sysvgroups" | b"minixdf" | b"bsddf", _)
            | (b"nombcache" | b"no_mbcache" | b"discard" | b"nodiscard", _) => {
                return Err(bad("this option takes no value"));
            }
            _ => return foreign(key, value, log),
        }
        Ok(())
    }

    /// One that is a number: a user, a group, a size. `None` if it is none.
    fn set_number(&mut self, key: &[u8], text: &[u8]) -> Option<()> {
        // As an id the last number is nobody.
        let n = decimal(text, u32::MAX - 1)?;
        match key {
            b"resuid" => self.resuid = Some(n),
            b"resgid" => self.resgid = Some(n),
            _ => self.max_dir_size_kb = n,
        }
        Some(())
    }

    /// Shows the options that differ from the defaults.
    pub(crate) fn show(&self, out: &SeqFile) {
        match self.errors {
            Some(ErrorPolicy::Continue) => seq_print!(out, ",errors=continue"),
            Some(ErrorPolicy::RemountRo) => seq_print!(out, ",errors=remount-ro"),
            Some(ErrorPolicy::Panic) => seq_print!(out, ",errors=panic"),
            None => (),
        }
        if self.commit != 0 {
            seq_print!(out, ",commit={}", self.commit);
        }
        self.barrier.show(out, "barrier", "nobarrier");
        self.discard.show(out, "discard", "nodiscard");
        if self.noload {
            seq_print!(out, ",norecovery");
        }
        if self.dio_gate {
            seq_print!(out, ",dio_gate");
        }
        match self.dax {
            Some(Dax::Always) => seq_print!(out, ",dax=always"),
            Some(Dax::Inode) => seq_print!(out, ",dax=inode"),
            Some(Dax::Never) => seq_print!(out, ",dax=never"),
            None => (),
        }
        if let Some(version) = self.dummy {
            seq_print!(out, ",test_dummy_encryption={}", version.name());
        }
        if self.inlinecrypt {
            seq_print!(out, ",inlinecrypt");
        }
        if !self.auto_da_alloc {
            seq_print!(out, ",noauto_da_alloc");
        }
        if !self.user_xattr {
            seq_print!(out, ",nouser_xattr");
        }
        if !self.acl {
            seq_print!(out, ",noacl");
        }
        if !self.mbcache {
            seq_print!(out, ",nombcache");
        }
        self.grpid.show(out, "grpid", "nogrpid");
        if self.minixdf {
            seq_print!(out, ",minixdf");
        }
        if let Some(uid) = self.resuid {
            seq_print!(out, ",resuid={}", uid);
        }
        if let Some(gid) = self.resgid {
            seq_print!(out, ",resgid={}", gid);
        }
        if self.max_dir_size_kb != 0 {
            seq_print!(out, ",max_dir_size_kb={}", self.max_dir_size_kb);
        }
    }
}

const NO_DUMMY: &str = "test_dummy_encryption= is v1 or v2";

fn dummy_version(text: Option<&[u8]>) -> Option<DummyVersion> {
    match text {
        Some(b"v1") => Some(DummyVersion::V1),
        None | Some(b"" | b"v2") => Some(DummyVersion::V2),
        Some(_) => None,
    }
}

/// One of ext4's options, or one for the VFS.
fn foreign(key: &[u8], value: Option<&[u8]>, log: &MountLog<'_>) -> Result {
    let name = core::str::from_utf8(key).map_err(|_| EINVAL)?;
    match foreign::verdict(key, value).ok_or_else(unknown)? {
        Foreign::Same => (),
        Foreign::Instead(what) => {
            pr_info!("option {}: {}\n", name, what);
            log.warning(fmt!("option {}: {}", name, what));
        }
        Foreign::Refused(why) => {
            pr_err!("cannot mount: option {}: {}\n", name, why);
            log.error(fmt!("option {}: {}", name, why));
            return Err(EINVAL);
        }
    }
    Ok(())
}

/// A number of seconds up to an hour.
fn number(text: &[u8]) -> Option<u32> {
    decimal(text, 3600)
}

/// A decimal number up to `max`.
fn decimal(text: &[u8], max: u32) -> Option<u32> {
    let mut n: u32 = 0;
    for digit in text {
        let digit = u32::from(digit.checked_sub(b'0').filter(|d| *d < 10)?);
        n = n.checked_mul(10)?.checked_add(digit)?;
        if n > max {
            return None;
        }
    }
    (!text.is_empty()).then_some(n)
}
