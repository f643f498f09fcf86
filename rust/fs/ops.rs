// SPDX-License-Identifier: GPL-2.0

//! What the VFS calls, forwarded to where it is done.
//!
//! # Contexts
//!
//! From where, and what is allowed there, as in [`io`](super::io), which has the callbacks of the
//! data path. All run in a task and may sleep, but for the last two.
//!
//! | callback | C function | holds on entry | handle |
//! |---|---|---|---|
//! | `get_context`, `is_empty_dir`, `has_stable_inodes`, `dummy_policy` | fs/crypto, which sets up a key or compares policies | nothing, or i_rwsem of the inode or of its directory | allow |
//! | `set_context` | `fscrypt_ioctl_set_policy` | freeze WRITE, i_rwsem | starts |
//! | `new_inode_info`, `max_folio_order` | `alloc_inode`; when it gets its tables | as `lookup`, `create`, and `load` | allow |
//! | `lookup` | `__lookup_slow`, `lookup_open` | i_rwsem of the directory, shared or not | allow |
//! | `create`, `mknod`, `mkdir`, `symlink` | `lookup_open`, `vfs_create` and the like | freeze WRITE, i_rwsem of the directory | starts |
//! | `link`, `unlink`, `rmdir` | `vfs_link`, `vfs_unlink`, `vfs_rmdir` | the same, and i_rwsem of what is named | starts |
//! | `rename` | `vfs_rename` | freeze WRITE, i_rwsem of both directories and of what is named, of a directory only if it goes or its parent changes; `s_vfs_rename_mutex` for two directories | starts |
//! | `tmpfile` | `vfs_tmpfile` | freeze WRITE; no i_rwsem | starts |
//! | `read_link` | `vfs_get_link`, `pick_link` | nothing (an RCU walk is sent back) | allow |
//! | `readdir` | `iterate_dir` | i_rwsem of the directory, shared; touches user memory | allow |
//! | `open_dir`, `byte_positions`, `dir_seeked` | `do_dentry_open`, `vfs_llseek` | nothing | allow |
//! | `seek_dir` | `vfs_llseek` | nothing | allow |
//! | `opened` | `do_dentry_open` | nothing; freeze WRITE (O_TMPFILE), i_rwsem of the directory (`dentry_create`) | starts |
//! | `whole_write` | `do_dentry_open` | as `opened` | allow |
//! | `setattr` | `notify_change` | freeze WRITE, i_rwsem | starts |
//! | `get_xattr`, `list_xattr` | `__vfs_getxattr`, `vfs_listxattr` | nothing, or i_rwsem | allow |
//! | `set_xattr` | `__vfs_setxattr`, `__vfs_removexattr` | freeze WRITE, and i_rwsem but for a label of a security module | starts |
//! | `get_acl` | `__get_acl` | nothing, or i_rwsem of the directory that is searched | allow |
//! | `set_acl` | `vfs_set_acl`, `vfs_remove_acl` | freeze WRITE, i_rwsem | starts |
//! | `getattr` | `vfs_getattr_nosec` | nothing | allow |
//! | `fileattr_get` | `vfs_fileattr_get` | nothing, or i_rwsem | allow |
//! | `fileattr_set` | `vfs_fileattr_set` | freeze WRITE, i_rwsem | starts, waits |
//! | `fiemap` | `ioctl_fiemap` | nothing | allow |
//! | `max_bytes` | `vfs_llseek` | nothing | allow |
//! | `label`, `uuid`; `set_label`, `set_uuid` | `vfs_ioctl` | nothing; freeze WRITE | allow; starts |
//! | `check_new_uuid` | `vfs_ioctl` | nothing | allow |
//! | `trim`, `map_space` | `vfs_ioctl` | nothing | allow |
//! | `can_empty_log`; `empty_log` | `vfs_ioctl` | nothing; freeze WRITE | allow; waits |
//! | `check_new_generation`; `set_generation` | `vfs_ioctl` | nothing; freeze WRITE, i_rwsem | allow; starts |
//! | `move_extents` | `vfs_ioctl` | freeze WRITE | starts, waits |
//! | `shut_down`; `shutdown` | `vfs_ioctl`; `fs_bdev_mark_dead` | nothing; s_umount shared | waits; allow |
//! | `may_read` | `vfs_splice_read`, `call_mmap_prepare` | nothing; mmap_lock | allow |
//! | `by_handle`, `parent` | `exportfs_decode_fh_raw`, `reconnect_one` | nothing | allow |
//! | `commit_metadata` | `commit_metadata` of nfsd | nothing | waits |
//! | `dirty_inode` | `__mark_inode_dirty` | what the caller has: i_rwsem, or mmap_lock (a write fault: and freeze PAGEFAULT), or nothing (atime) | starts |
//! | `write_inode` | `__writeback_single_inode` | `I_SYNC` of the inode; s_umount shared, or nothing | waits |
//! | `evict` | `evict` of `iput`, `prune_icache_sb`, `evict_inodes` | nothing of the inode; s_umount, shared (reclaim that may enter file systems) or not (unmount) | starts |
//! | `parse_option`; `current_options` | `vfs_parse_fs_param`; `alloc_fs_context` | the context is the task's; s_umount in an emergency remount | allow |
//! | `load`; `parts`, `start` | `get_tree_bdev` | s_umount | never: no journal yet; starts |
//! | `reconfigure` | `reconfigure_super` | s_umount | starts |
//! | `stop` | `generic_shutdown_super`, `get_tree_bdev` after an error | s_umount | never: the journal is closed |
//! | `sync` | `sync_filesystem`, `sync_fs_one_sb` | s_umount, shared or not | waits |
//! | `freeze`, `unfreeze` | `freeze_super`, `thaw_super` | s_umount; freeze all three levels | waits |
//! | `statfs` | `statfs_by_dentry` | nothing; ustat(2): s_umount shared | allow |
//! | `show_options` | `show_vfsmnt`, `show_mountinfo` | namespace_sem shared: mounts wait | never |
//! | `FILES` | `sysfs_kf_seq_show`, `sysfs_kf_write` | nothing; unmount waits | allow |
//! | `run_later`; `discard_freed` | `process_one_work` | nothing | starts; allow |
//! | `committed`, `log_block` | `jbd2_journal_commit_transaction`; `log_block` also `do_one_pass` | nothing, but a start may wait for this very thread | never |
//! | `seq`, `disk_size` of `Traced` | a trace event | anything, interrupt | never |
//! | `free_inode` in `vfs/inode/cache.rs` | `rcu_core`, interrupt, does not sleep | nothing | never |

mod crypt_ops;
mod inodes;
mod ioctls;

use super::{
    about,
    alloc,
    error,
    evict,
    export,
    inode::{self, Durable, InodeInfo},
    io::{
        buffered::{buffered_read, buffered_write},
        dax::{dax_fault, dax_read, dax_write},
        direct::{self, direct_read, direct_write},
        fallocate, fsync, gate, map, mmap as fault, pinned, seek,
    },
    mount,
    namei,
    options::Options,
    sysfs,
    xattr,
    HeldInode,
    Inode,
    InodeRef,
    Rext4,
    Sb, //
};
use crate::{
    disk::Ino,
    trace::Traced,
    vfs::{
        address_space::AddressSpaceOps,
        dax::DaxFault,
        dir::DirOps,
        export::Export,
        file::{FallocMode, FileFlags, FileOps},
        folio::Folio,
        fs_context::MountLog,
        inode::{Evicted, IdMap, NewInode},

        ioctl::{self, Shutdown},
        jbd2::{Committed, Journaled},
        mmap::{Fault, VmFault},
        namei::{Namei, RenameFlags},
        super_block::{FileSystem, Flags, NewSuper, Parts, Remount, StatFs, SysFile},
        writeback::WritebackControl,
        xattr::{How, Name, Value, XattrOps},
        Dentry,
        DirEmitter,
        File,
        InLookup,
        Io,
        IovIterDest,
        IovIterSource,
        Kiocb, //
    },
};
use core::ops::Range;
use kernel::{
    prelude::*,
    seq_file::SeqFile,
    sync::atomic::ordering, //
};

#[vtable]
impl FileSystem for Rext4 {
    type InodeInfo = InodeInfo;
    type Options = Options;
    type Writeback = Self;

    const FLAGS: Flags = Flags {
        read_only: false,
        idmap: true,
        multigrain_times: true,
        change_counter: true,
        cgroup_writeback: true,
    };

    const FILES: &'static [SysFile<Self>] = sysfs::FILES;
    const FEATURES: &'static [&'static CStr] = sysfs::FEATURES;

    fn new_inode_info() -> impl PinInit<InodeInfo, Error> {
        InodeInfo::new()
    }

    fn parse_option(
        opts: &mut Options,
        key: &[u8],
        value: Option<&[u8]>,
        log: &MountLog<'_>,
    ) -> Result {
        opts.parse(key, value, log)
    }

    fn current_options(&self) -> Options {
        mount::options(self)
    }

    fn load(sb: &NewSuper<'_, Self>, opts: &Options) -> Result<impl PinInit<Self, Error>> {
        mount::load(sb, opts)
    }

    fn parts(&self) -> Parts<'_, Self> {
        Parts::three(&self.later, &self.discarder, &self.journal)
    }

    fn run_later(sb: &Sb) {
        error::later(sb);
        sysfs::tell_errors(sb);
        about::update_figures(sb);
    }

    fn start<'a>(sb: &'a Sb, log: &MountLog<'_>) -> Result<InodeRef<'a>> {
        mount::start(sb, log)
    }

    fn stop(sb: &Sb) {
        mount::stop(sb);
    }

    fn reconfigure(remount: &Remount<'_, Self>, opts: Options) -> Result {
        mount::reconfigure(remount, opts)
    }

    fn sync(sb: &Sb, wait: bool) -> Result {
        mount::sync(sb, wait)
    }

    fn freeze(sb: &Sb) -> Result {
        mount::freeze(sb)
    }

    fn unfreeze(sb: &Sb) -> Result {
        mount::unfreeze(sb)
    }

    fn shutdown(sb: &Sb) {
        // Without a freeze it does not fail.
        let _ = mount::shut_down(sb, Shutdown::Now);
    }

    fn statfs(sb: &Sb) -> Result<StatFs> {
        about::statfs(sb)
    }

    fn show_options(&self, out: &SeqFile) {
        mount::show_options(self, out);
    }

    fn dirty_inode(inode: &Inode) {
        inode::dirty(inode);
    }

    fn write_inode(inode: &Inode, control: &WritebackControl<'_>) -> Result {
        fsync::write_inode(inode, control)
    }

    fn evict(inode: &Evicted<'_, Self>) {
        evict::evict(inode);
    }
}

impl Journaled for Rext4 {
    fn committed(sb: &Sb, done: Committed) {
        alloc::committed(sb, done);
        about::after_commit(sb);
    }

    fn log_block(inode: &Inode, block: u64) -> Result<u64> {
        map::written_block(inode, block)
    }
}

impl Traced for Rext4 {
    fn seq(inode: &Inode) -> u32 {
        inode.info().seq.load(ordering::Relaxed)
    }

    fn disk_size(inode: &Inode) -> u64 {
        inode.info().disk_size()
    }
}

#[vtable]
impl AddressSpaceOps for Rext4 {
    type ReadOps = map::ReadOps;
    type SwapOps = map::SwapOps;

    fn max_folio_order(pmd: u32) -> u32 {
        direct::max_folio_order(pmd)
    }

    fn is_guarded(inode: &Inode) -> bool {
        gate::is_looked_at(inode)
    }

    fn may_fill(inode: &Inode, range: Range<u64>) -> bool {
        gate::may_fill(inode, range)
    }

    fn wait_to_fill(inode: &Inode, range: Range<u64>) -> Result {
        gate::wait(inode, range)
    }

    fn may_release(inode: &Inode, folio: &Folio<'_>) -> bool {
        super::lab::may_release(inode, folio.range()) && pinned::may_drop(folio)
    }
}

#[vtable]
impl FileOps for Rext4 {
    const FILE_FLAGS: FileFlags = FileFlags {
        nowait: true,
        direct: true,
        async_read: true,
        nowait_write: true,
        parallel_direct_write: true,
        dont_cache: true,
    };
    const IOCTL: ioctl::Handler<Self> = ioctl::Handler::new();

    fn read_iter<'a>(mut iocb: Kiocb<'a, Self>, to: &mut IovIterDest<'_>) -> Io<'a, Self> {
        if let Err(e) = Self::may_read(iocb.inode()) {
            return iocb.done(Err(e));
        }
        if iocb.inode().is_dax() {
            let read = dax_read(&mut iocb, to);
            iocb.done(read)
        } else if iocb.direct() {
            direct_read(iocb, to)
        } else {
            buffered_read(iocb, to)
        }
    }

    fn write_iter<'a>(mut iocb: Kiocb<'a, Self>, from: &mut IovIterSource<'_>) -> Io<'a, Self> {
        if let Err(e) = direct::check_whole(&iocb, from) {
            return iocb.done(Err(e));
        }
        if iocb.inode().is_dax() {
            let written = dax_write(&mut iocb, from);
            iocb.done(written)
        } else if iocb.direct() {
            direct_write(iocb, from)
        } else {
            let result = buffered_write(&mut iocb, from);
            iocb.done(result)
        }
    }

    fn fsync(file: &File<Self>, bytes: Range<u64>, datasync: bool) -> Result {
        let what = if datasync {
            Durable::Data
        } else {
            Durable::Inode
        };
        fsync::fsync(file, bytes, what)
    }

    fn fallocate(file: &File<Self>, mode: FallocMode, bytes: Range<u64>) -> Result {
        fallocate::fallocate(file, mode, bytes)
    }

    fn seek(inode: &Inode, offset: u64, hole: bool) -> Result<u64> {
        seek::seek(inode, offset, hole)
    }

    fn whole_write(inode: &Inode) -> Option<u32> {
        direct::whole_write(inode)
    }

    fn max_bytes(inode: &Inode) -> u64 {
        inode.max_size()
    }

    fn page_mkwrite<'a>(fault: &Fault<'a, Self>) -> VmFault<'a> {
        fault::page_mkwrite(fault)
    }

    fn dax_fault<'a>(fault: &DaxFault<'a, Self>) -> VmFault<'a> {
        dax_fault(fault)
    }

    fn opened(file: &File<Self>) -> Result {
        file.inode().fs().access.check_alive()?;
        about::opened(file);
        Ok(())
    }

    fn may_read(inode: &Inode) -> Result {
        inode.fs().access.check_alive()
    }

    fn release(inode: &Inode, writer: bool) {
        if writer {
            fsync::after_close(inode);
        }
    }
}

#[vtable]
impl DirOps for Rext4 {
    type DirFile = namei::DirFile;
    const IOCTL: ioctl::Handler<Self> = ioctl::Handler::new();

    fn open_dir() -> impl PinInit<namei::DirFile, Error> {
        namei::DirFile::new()
    }

    fn fsync(dir: &File<Self>) -> Result {
        fsync::fsync(dir, 0..i64::MAX as u64, Durable::Inode)
    }

    fn byte_positions(dir: &Inode) -> Option<u64> {
        namei::byte_positions(dir)
    }

    fn seek_dir(dir: &Inode, offset: u64, hole: bool) -> Result<u64> {
        seek::seek(dir, offset, hole)
    }

    fn dir_seeked(file: &namei::DirFile) {
        file.forget();
    }

    fn readdir(dir: &Inode, file: &namei::DirFile, emit: &mut DirEmitter<'_>) -> Result {
        namei::readdir(dir, file, emit)
    }
}

impl XattrOps for Rext4 {
    fn get_xattr(inode: &Inode, name: Name<'_>, out: &mut Value<'_>) -> Result {
        xattr::get(inode, name, out)
    }

    fn set_xattr(inode: &Inode, name: Name<'_>, value: Option<&[u8]>, how: How) -> Result {
        xattr::set(inode, name, value, how)
    }
}

impl Export for Rext4 {
    fn by_handle(sb: &Sb, ino: u64, generation: u32) -> Result<InodeRef<'_>> {
        let ino = u32::try_from(ino).map_err(|_| ESTALE)?;
        export::by_handle(sb, Ino::new(ino), generation)
    }

    fn parent(dir: &Inode) -> Result<InodeRef<'_>> {
        namei::parent(dir)
    }

    fn commit_metadata(inode: &Inode) -> Result {
        fsync::commit(inode, Durable::Inode)
    }
}

#[vtable]
impl Namei for Rext4 {
    fn lookup<'a>(dir: &'a Inode, dentry: &InLookup<Self>) -> Result<Option<InodeRef<'a>>> {
        namei::lookup(dir, dentry)
    }

    fn create(idmap: IdMap<'_>, dir: &Inode, dentry: &Dentry<Self>, mode: u16) -> Result {
        namei::create(idmap, dir, dentry, mode)
    }

    fn mknod(idmap: IdMap<'_>, dir: &Inode, dentry: &Dentry<Self>, mode: u16, rdev: u32) -> Result {
        namei::mknod(idmap, dir, dentry, mode, rdev)
    }

    fn mkdir(idmap: IdMap<'_>, dir: &Inode, dentry: &Dentry<Self>, mode: u16) -> Result {
        namei::mkdir(idmap, dir, dentry, mode)
    }

    fn symlink(idmap: IdMap<'_>, dir: &Inode, dentry: &Dentry<Self>, target: &[u8]) -> Result {
        namei::symlink(idmap, dir, dentry, target)
    }

    fn link(inode: &HeldInode, dir: &Inode, dentry: &Dentry<Self>) -> Result {
        namei::link(inode, dir, dentry)
    }

    fn unlink(dir: &Inode, dentry: &Dentry<Self>) -> Result {
        namei::unlink(dir, dentry)
    }

    fn rmdir(dir: &Inode, dentry: &Dentry<Self>) -> Result {
        namei::rmdir(dir, dentry)
    }

    fn rename(
        from_dir: &Inode,
        from: &Dentry<Self>,
        to_dir: &Inode,
        to: &Dentry<Self>,
        flags: RenameFlags<'_>,
    ) -> Result {
        namei::rename(from_dir, from, to_dir, to, flags)
    }

    fn tmpfile<'a>(idmap: IdMap<'_>, dir: &'a Inode, mode: u16) -> Result<NewInode<'a, Self>> {
        namei::tmpfile(idmap, dir, mode)
    }
}
