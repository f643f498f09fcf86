// SPDX-License-Identifier: GPL-2.0

//! `ioctl(2)` of open files and directories. What the VFS answers by itself does not come here
//! (`do_vfs_ioctl()`: FIEMAP, freezing, the UUID).
//!
//! C headers: [`include/uapi/linux/fs.h`](srctree/include/uapi/linux/fs.h),
//! [`include/uapi/linux/ext4.h`](srctree/include/uapi/linux/ext4.h),
//! [`include/linux/mount.h`](srctree/include/linux/mount.h)

mod generation;

use super::{
    bindings,
    cred,
    file::File,
    fscrypt,
    fsmap::{self, DeviceSpace, SpaceMap},
    inode::{Inode, InodeLock},
    jbd2::Log,
    random::random_uuid,
    super_block::{FileSystem, SuperBlock}, //
};
use core::{marker::PhantomData, ops::RangeInclusive};
use generation::{get_generation, set_generation};
use kernel::{
    build_error,
    error::{from_result, to_result, VTABLE_DEFAULT_ERROR},
    fs::LocalFile,
    prelude::*,
    transmute::FromBytes,
    uaccess::{UserPtr, UserSlice}, //
};

/// A label, padded with zeros. One of full length has no zero at its end.
pub(crate) type Label = [u8; 16];

/// The UUID of a file system.
pub(crate) type Uuid = [u8; 16];

/// See [`IoctlOps::key_salt`].
pub(crate) type Salt = [u8; 16];

/// How a file system is shut down (`FS_IOC_SHUTDOWN`).
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shutdown {
    /// All is written before, as by a freeze.
    Sync,
    /// What the journal has is committed before; what is dirty of files is lost.
    Commit,
    /// At once, as if the power failed.
    Now,
}

/// Which free space shall be discarded (`FITRIM`), in bytes.
#[derive(Clone, Copy)]
pub(crate) struct Trim {
    /// Where it begins.
    pub(crate) start: u64,
    /// May reach beyond the end of the file system.
    pub(crate) len: u64,
    /// Runs that are shorter are left alone.
    pub(crate) least: u64,
}

/// Which blocks two files shall exchange (`EXT4_IOC_MOVE_EXT`).
#[derive(Clone, Copy)]
pub(crate) struct MoveExtents {
    /// The first of the file whose content stays.
    pub(crate) orig: u64,
    /// The first of the other, the donor.
    pub(crate) donor: u64,
    /// How many.
    pub(crate) len: u64,
}

/// How a file system shall become larger. Nothing is checked yet.
pub(crate) enum Resize {
    /// To so many blocks (`EXT4_IOC_RESIZE_FS`).
    To(u64),
    /// To so many blocks, within its last group (`EXT4_IOC_GROUP_EXTEND`).
    LastGroup(u64),
    /// By this group (`EXT4_IOC_GROUP_ADD`).
    Group(NewGroup),
}

/// A group whose place for metadata the caller has chosen: `struct ext4_new_group_input`.
#[derive(Clone, Copy)]
#[repr(C)]
pub(crate) struct NewGroup {
    pub(crate) group: u32,
    _pad: u32,
    pub(crate) block_bitmap: u64,
    pub(crate) inode_bitmap: u64,
    pub(crate) inode_table: u64,
    pub(crate) blocks: u32,
    pub(crate) root_blocks: u16,
    _unused: u16,
}

// SAFETY: Numbers, and none of the bytes is padding.
unsafe impl FromBytes for NewGroup {}

/// What can be asked of a file system by way of any of its files. No lock is held. That files and
/// directories have it at all is said by [`FileOps::IOCTL`](super::file::FileOps::IOCTL) and
/// [`DirOps::IOCTL`](super::dir::DirOps::IOCTL).
#[vtable]
pub(crate) trait IoctlOps: FileSystem {
    /// The label of the file system.
    fn label(_sb: &SuperBlock<Self>) -> Result<Label> {
        build_error!(VTABLE_DEFAULT_ERROR)
    }

    /// Gives it another. The caller may do it, and the mount stays writable and is not frozen
    /// meanwhile. `EINTR` if killed.
    fn set_label(_file: &File<Self>, _label: &Label) -> Result {
        build_error!(VTABLE_DEFAULT_ERROR)
    }

    /// The UUID, as it stands on disk.
    fn uuid(_sb: &SuperBlock<Self>) -> Result<Uuid> {
        build_error!(VTABLE_DEFAULT_ERROR)
    }

    /// Whether it can be another one. `EOPNOTSUPP`.
    fn check_new_uuid(_sb: &SuperBlock<Self>) -> Result {
        build_error!(VTABLE_DEFAULT_ERROR)
    }

    /// Gives it another, after [`IoctlOps::check_new_uuid`]. Otherwise as
    /// [`IoctlOps::set_label`].
    fn set_uuid(_file: &File<Self>, _uuid: &Uuid) -> Result {
        build_error!(VTABLE_DEFAULT_ERROR)
    }

    /// Tells what these blocks are used for, and what lies between is unknown. No lock is held,
    /// anybody may ask.
    fn map_space(_file: &File<Self>, _blocks: RangeInclusive<u64>, _map: &mut SpaceMap) -> Result {
        build_error!(VTABLE_DEFAULT_ERROR)
    }

    /// Discards free space; returns the bytes. The caller may do it, and the device can. The mount
    /// was writable and not frozen when this began. Ends early where [`Inode::should_return`].
    ///
    /// [`Inode::should_return`]: super::inode::Inode::should_return
    fn trim(_file: &File<Self>, _what: Trim) -> Result<u64> {
        build_error!(VTABLE_DEFAULT_ERROR)
    }

    /// Whether there is a journal. `ENODEV`.
    fn can_empty_log(_sb: &SuperBlock<Self>) -> Result {
        build_error!(VTABLE_DEFAULT_ERROR)
    }

    /// Writes all that the journal has to where it belongs, so that a replay finds nothing, after
    /// [`IoctlOps::can_empty_log`]. Otherwise as [`IoctlOps::set_label`].
    fn empty_log(_file: &File<Self>, _blocks: Log) -> Result {
        build_error!(VTABLE_DEFAULT_ERROR)
    }

    /// Has two files exchange blocks. Both are open for writing, the first for reading, too, and
    /// its mount stays writable and is not frozen meanwhile. The donor may be of any kind. Returns
    /// how many blocks were exchanged, also before an error.
    fn move_extents(
        _orig: &Inode<Self>,
        _donor: &Inode<Self>,
        _what: MoveExtents,
    ) -> (u64, Result) {
        build_error!(VTABLE_DEFAULT_ERROR)
    }

    /// Makes it larger. The caller may do it, and the mount stays writable and is not frozen
    /// meanwhile. `EINTR` if killed: it has become larger by a part.
    fn resize(_file: &File<Self>, _how: Resize) -> Result {
        build_error!(VTABLE_DEFAULT_ERROR)
    }

    /// The bytes that programs make keys from passphrases with, zeros as long as there are none.
    fn key_salt(_sb: &SuperBlock<Self>) -> Result<Salt> {
        build_error!(VTABLE_DEFAULT_ERROR)
    }

    /// Makes it `new` if there are none, and returns what there is. Otherwise as
    /// [`IoctlOps::set_label`].
    fn make_key_salt(_file: &File<Self>, _new: &Salt) -> Result<Salt> {
        build_error!(VTABLE_DEFAULT_ERROR)
    }

    /// Whether inodes can have another generation than they were made with. `ENOTTY`.
    fn check_new_generation(_inode: &Inode<Self>) -> Result {
        Ok(())
    }

    /// Gives an inode another one, after [`IoctlOps::check_new_generation`]: handles of it are of
    /// another file then. The caller may do it, and the mount stays writable and is not frozen
    /// meanwhile.
    fn set_generation(_lock: &InodeLock<'_, Self>, _generation: u32) -> Result {
        build_error!(VTABLE_DEFAULT_ERROR)
    }

    /// Ends all use of the disk until it is unmounted. The caller may do it.
    fn shut_down(_sb: &SuperBlock<Self>, _how: Shutdown) -> Result {
        build_error!(VTABLE_DEFAULT_ERROR)
    }
}

/// What `ioctl(2)` of open files calls, if there is something.
pub(crate) struct Handler<F>(
    pub(super) Option<unsafe extern "C" fn(*mut bindings::file, c_uint, c_ulong) -> c_long>,
    PhantomData<F>,
);

impl<F: FileSystem> Handler<F> {
    /// The VFS answers `ENOTTY`.
    pub(crate) const NONE: Self = Self(None, PhantomData);

    /// [`IoctlOps`], and to ask for the generation of an inode.
    pub(crate) const fn new() -> Self
    where
        F: IoctlOps,
    {
        Self(Some(ioctl_callback::<F>), PhantomData)
    }
}

/// The mount that a file was opened through stays writable, and no freeze begins.
struct WantWrite<'a, F: FileSystem>(&'a File<F>);

impl<'a, F: FileSystem> WantWrite<'a, F> {
    /// Waits for a thaw. `EROFS` if read-only.
    fn new(file: &'a File<F>) -> Result<Self> {
        // SAFETY: By the type invariant of `File`; the guard pairs the call.
        to_result(unsafe { bindings::mnt_want_write_file(file.as_ptr()) })?;
        Ok(Self(file))
    }
}

impl<F: FileSystem> Drop for WantWrite<'_, F> {
    fn drop(&mut self) {
        // SAFETY: Pairs the call in `new`.
        unsafe { bindings::mnt_drop_write_file(self.0.as_ptr()) }
    }
}

fn get_label<F: IoctlOps>(file: &File<F>, to: UserPtr) -> Result {
    let label = F::label(file.inode().sb())?;
    let mut writer = UserSlice::new(to, label.len() + 1).writer();
    writer.write_slice(&label)?;
    writer.write_slice(&[0])
}

fn set_label<F: IoctlOps>(file: &File<F>, from: UserPtr) -> Result {
    if !cred::is_admin() {
        return Err(EPERM);
    }
    // One byte more than there can be, to see where it ends.
    let mut text = [0; size_of::<Label>() + 1];
    UserSlice::new(from, text.len())
        .reader()
        .read_slice(&mut text)?;
    let len = text.iter().position(|&byte| byte == 0).ok_or(EINVAL)?;
    let mut label = Label::default();
    for (to, from) in label.iter_mut().zip(text.iter().take(len)) {
        *to = *from;
    }
    let _write = WantWrite::new(file)?;
    F::set_label(file, &label)
}

/// `struct fsuuid`: a length and flags, then the bytes.
struct UserUuid(UserPtr);

impl UserUuid {
    const HEAD: usize = size_of::<[u32; 2]>();

    fn head(&self) -> UserSlice {
        UserSlice::new(self.0, Self::HEAD)
    }

    fn bytes(&self) -> UserSlice {
        let at = self.0.wrapping_byte_add(Self::HEAD);
        UserSlice::new(at, size_of::<Uuid>())
    }
}

fn get_uuid<F: IoctlOps>(file: &File<F>, to: UserPtr) -> Result {
    let user = UserUuid(to);
    let all = size_of::<Uuid>() as u32;
    let [len, flags]: [u32; 2] = user.head().reader().read()?;
    if len == 0 {
        return user.head().writer().write(&all);
    }
    if len < all || flags != 0 {
        return Err(EINVAL);
    }
    let uuid = F::uuid(file.inode().sb())?;
    user.head().writer().write(&[all, flags])?;
    user.bytes().writer().write_slice(&uuid)
}

fn set_uuid<F: IoctlOps>(file: &File<F>, from: UserPtr) -> Result {
    if !cred::is_admin() {
        return Err(EPERM);
    }
    F::check_new_uuid(file.inode().sb())?;
    let user = UserUuid(from);
    let [len, flags]: [u32; 2] = user.head().reader().read()?;
    if len != size_of::<Uuid>() as u32 || flags != 0 {
        return Err(EINVAL);
    }
    let uuid: Uuid = user.bytes().reader().read()?;
    let _write = WantWrite::new(file)?;
    F::set_uuid(file, &uuid)
}

fn map_space<F: IoctlOps>(file: &File<F>, user: UserPtr) -> Result {
    let sb = file.inode().sb();
    let space = DeviceSpace {
        device: sb.device().number(),
        block_bits: sb.block_bits(),
    };
    fsmap::answer(user, space, |blocks, map| F::map_space(file, blocks, map))
}

fn trim<F: IoctlOps>(file: &File<F>, range: UserPtr) -> Result {
    if !cred::is_admin() {
        return Err(EPERM);
    }
    if !file.inode().sb().device().can_discard() {
        return Err(EOPNOTSUPP);
    }
    // `struct fstrim_range`.
    let user = || UserSlice::new(range, size_of::<[u64; 3]>());
    let [start, len, least] = user().reader().read()?;
    // Not held: a discard may take long, and a freeze shall not wait for all of them.
    drop(WantWrite::new(file)?);
    let done = F::trim(file, Trim { start, len, least })?;
    user().writer().write(&[start, done, least])
}

fn checkpoint<F: IoctlOps>(file: &File<F>, from: UserPtr) -> Result {
    let mut flags: u32 = UserSlice::new(from, size_of::<u32>()).reader().read()?;
    if !cred::is_admin() {
        return Err(EPERM);
    }
    let dry_run = flags & bindings::EXT4_IOC_CHECKPOINT_FLAG_DRY_RUN != 0;
    flags &= !bindings::EXT4_IOC_CHECKPOINT_FLAG_DRY_RUN;
    let blocks = match flags {
        0 => Log::Kept,
        bindings::EXT4_IOC_CHECKPOINT_FLAG_DISCARD => Log::Discarded,
        bindings::EXT4_IOC_CHECKPOINT_FLAG_ZEROOUT => Log::Zeroed,
        _ => return Err(EINVAL),
    };
    let sb = file.inode().sb();
    F::can_empty_log(sb)?;
    if blocks == Log::Discarded && !sb.device().can_discard() {
        return Err(EOPNOTSUPP);
    }
    if dry_run {
        return Ok(());
    }
    let _write = WantWrite::new(file)?;
    F::empty_log(file, blocks)
}

/// `struct move_extent`: a word that is not looked at and the donor; where, where of the donor and
/// how many; how many it were.
fn move_extents<F: IoctlOps>(file: &File<F>, user: UserPtr) -> Result {
    if !file.reads_and_writes() {
        return Err(EBADF);
    }
    let (asked, answer) = (size_of::<[u64; 4]>(), size_of::<u64>());
    let mut reader = UserSlice::new(user, asked + answer).reader();
    let [_, fd]: [u32; 2] = reader.read()?;
    let [orig, donor, len, _]: [u64; 4] = reader.read()?;
    let other = LocalFile::fget(fd)?;
    // SAFETY: An open file; its mode does not change any more.
    if !unsafe { bindings::file_is_writer(other.as_ptr()) } {
        return Err(EBADF);
    }
    let other = file.inode_beside(&other)?;
    let write = WantWrite::new(file)?;
    let (moved, result) = F::move_extents(file.inode(), other, MoveExtents { orig, donor, len });
    drop(write);
    UserSlice::new(user.wrapping_byte_add(asked), answer)
        .writer()
        .write(&moved)?;
    result
}

fn shut_down<F: IoctlOps>(file: &File<F>, from: UserPtr) -> Result {
    if !cred::is_admin() {
        return Err(EPERM);
    }
    let how = match UserSlice::new(from, size_of::<u32>()).reader().read()? {
        bindings::FS_SHUTDOWN_FLAGS_DEFAULT => Shutdown::Sync,
        bindings::FS_SHUTDOWN_FLAGS_LOGFLUSH => Shutdown::Commit,
        bindings::FS_SHUTDOWN_FLAGS_NOLOGFLUSH => Shutdown::Now,
        _ => return Err(EINVAL),
    };
    F::shut_down(file.inode().sb(), how)
}

fn key_salt<F: IoctlOps>(file: &File<F>, to: UserPtr) -> Result {
    let sb = file.inode().sb();
    if !sb.has_crypt() {
        return Err(EOPNOTSUPP);
    }
    let mut salt = F::key_salt(sb)?;
    if salt == Salt::default() {
        let _write = WantWrite::new(file)?;
        salt = F::make_key_salt(file, &random_uuid())?;
    }
    UserSlice::new(to, salt.len()).writer().write_slice(&salt)
}

fn resize<F: IoctlOps>(file: &File<F>, how: Resize) -> Result {
    if !cred::may_raise_limits() {
        return Err(EPERM);
    }
    let _write = WantWrite::new(file)?;
    F::resize(file, how)
}

/// A value that the caller has in its memory.
fn argument<T: FromBytes>(from: UserPtr) -> Result<T> {
    UserSlice::new(from, size_of::<T>()).reader().read()
}

/// `unlocked_ioctl`, and for 32-bit programs by `compat_ptr_ioctl`.
///
/// # Safety
///
/// `file` is an open file or directory of file system `F`.
unsafe extern "C" fn ioctl_callback<F: IoctlOps>(
    file: *mut bindings::file,
    cmd: c_uint,
    arg: c_ulong,
) -> c_long {
    from_result(|| {
        // SAFETY: By the caller.
        let file = unsafe { File::<F>::from_raw(file) };
        let user = UserPtr::from_addr(arg);
        match cmd {
            bindings::FS_IOC_GETFSLABEL if F::HAS_LABEL => get_label(file, user)?,
            bindings::FS_IOC_SETFSLABEL if F::HAS_SET_LABEL => set_label(file, user)?,
            bindings::EXT4_IOC_GETFSUUID if F::HAS_UUID => get_uuid(file, user)?,
            bindings::EXT4_IOC_SETFSUUID if F::HAS_SET_UUID => set_uuid(file, user)?,
            bindings::FS_IOC_GETFSMAP if F::HAS_MAP_SPACE => map_space(file, user)?,
            bindings::EXT4_IOC_CHECKPOINT if F::HAS_EMPTY_LOG => checkpoint(file, user)?,
            bindings::EXT4_IOC_MOVE_EXT if F::HAS_MOVE_EXTENTS => move_extents(file, user)?,
            bindings::FITRIM if F::HAS_TRIM => trim(file, user)?,
            bindings::EXT4_IOC_RESIZE_FS if F::HAS_RESIZE => {
                resize(file, Resize::To(argument(user)?))?
            }
            // A number of 32 bits in spite of its name (C: ext4 reads no more).
            bindings::EXT4_IOC_GROUP_EXTEND | bindings::EXT4_IOC32_GROUP_EXTEND
                if F::HAS_RESIZE =>
            {
                resize(file, Resize::LastGroup(argument::<u32>(user)?.into()))?
            }
            bindings::EXT4_IOC_GROUP_ADD if F::HAS_RESIZE => {
                resize(file, Resize::Group(argument(user)?))?
            }
            bindings::FS_IOC_SHUTDOWN if F::HAS_SHUT_DOWN => shut_down(file, user)?,
            bindings::FS_IOC_GETVERSION
            | bindings::FS_IOC32_GETVERSION
            | bindings::EXT4_IOC_GETVERSION
            | bindings::EXT4_IOC32_GETVERSION => get_generation(file, user)?,
            bindings::FS_IOC_SETVERSION
            | bindings::FS_IOC32_SETVERSION
            | bindings::EXT4_IOC_SETVERSION
            | bindings::EXT4_IOC32_SETVERSION
                if F::HAS_SET_GENERATION =>
            {
                set_generation(file, user)?
            }
            bindings::FS_IOC_GET_ENCRYPTION_PWSALT if F::HAS_KEY_SALT => key_salt(file, user)?,
            _ => fscrypt::ioctl(file, cmd, arg).ok_or(ENOTTY)??,
        }
        Ok(0)
    })
}
