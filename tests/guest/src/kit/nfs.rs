// SPDX-License-Identifier: GPL-2.0
//! The kernel's NFS server and client in one machine: the file system under test is exported, and
//! mounted again over the loopback device.
//!
//! No daemon takes part. What `exportfs` and `rpc.mountd` would tell the server is written into its
//! caches (`net/sunrpc/cache.c`, `fs/nfsd/export.c`), and [`Tracker`] answers in place of
//! `nfsdcld`. NFS 4.1 asks for no more; NFS 3 would want `rpcbind` for its lock manager.

use crate::fixture::{knows_fs, run_cmd, unless_busy, MNT, MNT2};
use crate::harness::Res;
use crate::skip;
use crate::sys::{self, Sys};
use std::io::{Read, Write};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

const NFSD: &str = "/proc/fs/nfsd";
/// Where the server's upcalls come out.
const PIPES: &str = "/mnt/rpc_pipefs";
/// Not 2049: that may be in use on a machine that is not ours alone.
const PORT: u16 = 20490;
/// The name of the clients in the server's caches.
const DOMAIN: &str = "loopback";
/// `NFSEXP_FSID | NFSEXP_NOSUBTREECHECK | NFSEXP_INSECURE_PORT` (`uapi/linux/nfsd/export.h`): the
/// export is the root of the NFS tree, by number and not by device.
const EXPORT: u32 = 0x2000 | 0x0400 | 0x0002;

/// The server, exporting [`MNT`], and the client's mount of it on [`MNT2`].
pub struct Nfs {
    tracker: Tracker,
    serving: bool,
}

impl Nfs {
    /// Exports what is mounted, and mounts it by NFS.
    pub fn start() -> Res<Nfs> {
        for fs in ["nfsd", "rpc_pipefs", "nfs4"] {
            if !knows_fs(fs) {
                skip!("the kernel has no file system {fs}: no NFS server and client in one");
            }
        }
        run_cmd("ip", &["link", "set", "lo", "up"])?;
        if !Path::new(PIPES).exists() {
            sys::mkdir(PIPES, 0o755)?;
            sys::mount("none", PIPES, "rpc_pipefs", 0, "")?;
            sys::mount("none", NFSD, "nfsd", 0, "")?;
        }
        let mut nfs = Nfs {
            tracker: Tracker::start(),
            serving: false,
        };
        nfs.serve()?;
        let options =
            format!("vers=4.1,proto=tcp,port={PORT},addr=127.0.0.1,clientaddr=127.0.0.1,sec=sys");
        sys::mount("127.0.0.1:/", MNT2, "nfs4", 0, &options)?;
        Ok(nfs)
    }

    /// Starts the server, also after [`Self::pause`].
    pub fn serve(&mut self) -> Res {
        let far = "4000000000";
        let tell = |cache: &str, line: String| {
            sys::write_file(&format!("/proc/net/rpc/{cache}/channel"), &line)
        };
        tell("auth.unix.ip", format!("nfsd 127.0.0.1 {far} {DOMAIN}\n"))?;
        tell("auth.unix.gid", format!("0 {far} 1 0\n"))?;
        tell(
            "nfsd.export",
            format!("{DOMAIN} {MNT} {far} {EXPORT} 0 0 0\n"),
        )?;
        // 1: `FSID_NUM`, four bytes.
        tell("nfsd.fh", format!("{DOMAIN} 1 \\x00000000 {far} {MNT}\n"))?;
        sys::write_file(&format!("{NFSD}/versions"), "-3 +4 -4.0 +4.1\n")?;
        sys::write_file(&format!("{NFSD}/portlist"), &format!("tcp {PORT}\n"))?;
        self.serving = true;
        sys::write_file(&format!("{NFSD}/threads"), "2\n")?;
        Ok(())
    }

    /// Stops the server, which then holds nothing of the file system: this can be unmounted. The
    /// client stays, and waits.
    pub fn pause(&mut self) -> Sys<()> {
        self.serving = false;
        sys::write_file(&format!("{NFSD}/threads"), "0\n")?;
        for cache in ["nfsd.fh", "nfsd.export", "auth.unix.gid", "auth.unix.ip"] {
            sys::write_file(&format!("/proc/net/rpc/{cache}/flush"), "1\n")?;
        }
        Ok(())
    }

    /// Path under the client's mount.
    pub fn p(&self, name: &str) -> String {
        format!("{MNT2}/{name}")
    }

    /// Unmounts the client and stops the server.
    pub fn end(mut self) -> Res {
        // Of a file that was closed just now the client may still be telling the server.
        unless_busy(|| sys::umount(MNT2, 0))?;
        Ok(self.pause()?)
    }
}

impl Drop for Nfs {
    /// After a failure. A client without a server would wait for ever.
    fn drop(&mut self) {
        if self.serving {
            let _ = sys::umount(MNT2, libc::MNT_FORCE);
            let _ = sys::umount(MNT2, libc::MNT_DETACH);
            let _ = self.pause();
        }
        self.tracker.stop();
    }
}

/// What `nfsdcld` is for the server: it remembers the clients, so that they get back what they had
/// open when the server starts again, and nobody waits for them if there are none.
struct Tracker {
    over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Tracker {
    fn start() -> Tracker {
        let over = Arc::new(AtomicBool::new(false));
        let stop = over.clone();
        let thread = std::thread::spawn(move || {
            let mut clients = Vec::new();
            while !stop.load(Ordering::Relaxed) {
                // There while the server runs, or waits for it to be opened.
                let pipe = std::fs::File::options()
                    .read(true)
                    .write(true)
                    .open(format!("{PIPES}/nfsd/cld"));
                if let Ok(pipe) = pipe {
                    answer(pipe, &mut clients, &stop);
                }
                std::thread::sleep(Duration::from_millis(10));
            }
        });
        Tracker {
            over,
            thread: Some(thread),
        }
    }

    fn stop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// `struct cld_msg` (`uapi/linux/nfsd/cld.h`): version, command, status and number, then the name
/// of a client after its length.
type Message = [u8; 8 + 2 + 1024];

const CREATE: u8 = 0;
const REMOVE: u8 = 1;
const GRACE_START: u8 = 4;
const GET_VERSION: u8 = 5;

/// Answers the upcalls of one pipe until it is gone.
fn answer(mut pipe: std::fs::File, clients: &mut Vec<Vec<u8>>, stop: &AtomicBool) {
    let mut m: Message = [0; size_of::<Message>()];
    while !stop.load(Ordering::Relaxed) {
        match pipe.read(&mut m) {
            // Nothing to read does not block.
            Ok(0) => std::thread::sleep(Duration::from_millis(2)),
            Ok(_) => {
                let name = m[8..].to_vec();
                match m[1] {
                    CREATE if !clients.contains(&name) => clients.push(name),
                    REMOVE => clients.retain(|c| *c != name),
                    GRACE_START => {
                        for client in clients.iter() {
                            m[2..4].copy_from_slice(&(-libc::EINPROGRESS as i16).to_ne_bytes());
                            m[8..].copy_from_slice(client);
                            let _ = pipe.write(&m);
                        }
                    }
                    GET_VERSION => m[8] = 1,
                    _ => (),
                }
                m[2..4].copy_from_slice(&0i16.to_ne_bytes());
                if pipe.write(&m).is_err() {
                    return;
                }
            }
            Err(_) => return,
        }
    }
}
