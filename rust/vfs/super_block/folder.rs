// SPDX-License-Identifier: GPL-2.0

//! `/sys/fs/TYPE`: a folder for each mount, and `features`.
//!
//! Nothing depends on them, so no mount fails for want of one.

use super::{FileSystem, SuperBlock};
use crate::vfs::{
    bindings,
    sysfs::{FileContent, Folder, Kobject, Shown, Written}, //
};
use core::ptr::NonNull;
use kernel::{
    new_mutex,
    prelude::*,
    str::CStr,
    sync::Mutex,
    types::Opaque, //
};

type ShowFn<F> = fn(&SuperBlock<F>) -> Result<Shown>;
type StoreFn<F> = fn(&SuperBlock<F>, &Written<'_>) -> Result;

/// A file that each mount of `F` has in its folder ([`FileSystem::FILES`]). Its functions are
/// called with no lock held, from the end of the mount on until the unmount, which waits for them.
pub(crate) struct SysFile<F: FileSystem> {
    name: &'static CStr,
    show: Option<ShowFn<F>>,
    store: Option<StoreFn<F>>,
}

impl<F: FileSystem> SysFile<F> {
    /// One that everybody may read.
    pub(crate) const fn new(name: &'static CStr, show: ShowFn<F>) -> Self {
        Self {
            name,
            show: Some(show),
            store: None,
        }
    }

    /// The same, and root may write it.
    pub(crate) const fn stored(mut self, store: StoreFn<F>) -> Self {
        self.store = Some(store);
        self
    }

    /// One that root may write, and nobody read.
    pub(crate) const fn write_only(name: &'static CStr, store: StoreFn<F>) -> Self {
        Self {
            name,
            show: None,
            store: Some(store),
        }
    }
}

/// A file of a mount.
///
/// # Invariants
///
/// `sb` is a super block with its data attached as long as this lives.
struct MountFile<F: FileSystem> {
    sb: NonNull<SuperBlock<F>>,
    file: &'static SysFile<F>,
}

// SAFETY: A `SuperBlock` is `Sync`.
unsafe impl<F: FileSystem> Send for MountFile<F> {}
// SAFETY: As above.
unsafe impl<F: FileSystem> Sync for MountFile<F> {}

impl<F: FileSystem> MountFile<F> {
    fn sb(&self) -> &SuperBlock<F> {
        // SAFETY: By the type invariant.
        unsafe { self.sb.as_ref() }
    }
}

impl<F: FileSystem> FileContent for MountFile<F> {
    fn name(&self) -> &'static CStr {
        self.file.name
    }

    fn mode(&self) -> u16 {
        let read = self.file.show.map_or(0, |_| 0o444);
        read | self.file.store.map_or(0, |_| 0o200)
    }

    fn show(&self) -> Result<Shown> {
        self.file.show.ok_or(EIO)?(self.sb())
    }

    fn store(&self, text: &Written<'_>) -> Result {
        self.file.store.ok_or(EIO)?(self.sb(), text)
    }
}

/// A file of `features`.
struct Feature(&'static CStr);

impl FileContent for Feature {
    fn name(&self) -> &'static CStr {
        self.0
    }

    fn mode(&self) -> u16 {
        0o444
    }

    fn show(&self) -> Result<Shown> {
        Ok(Shown::Word(c"supported"))
    }

    fn store(&self, _text: &Written<'_>) -> Result {
        Err(EIO)
    }
}

/// The folder of a file system type.
struct TypeFolder {
    /// Goes before what it lies in.
    _features: Folder<Feature>,
    object: Kobject,
}

impl TypeFolder {
    fn new(name: &CStr, features: &'static [&'static CStr]) -> Result<Self> {
        let object = Kobject::in_fs(name)?;
        let contents = features.iter().map(|name| Feature(name));
        Ok(Self {
            _features: Folder::new(&object, c"features", contents)?,
            object,
        })
    }
}

/// A `struct file_system_type`, and its folder.
#[pin_data]
pub(super) struct FsType {
    /// Not made before the name is registered, for somebody else may have both; then it may be
    /// mounted before who registers it comes to make it. So it is made by who needs it first.
    #[pin]
    folder: Mutex<Option<TypeFolder>>,
    #[pin]
    pub(super) raw: Opaque<bindings::file_system_type>,
}

impl FsType {
    /// One that `init` fills in, and registers. The name stays null if it does not.
    pub(super) fn new(
        init: impl FnOnce(*mut bindings::file_system_type) -> Result,
    ) -> impl PinInit<Self, Error> {
        try_pin_init!(Self {
            folder <- new_mutex!(None, "vfs_type_folder"),
            raw <- Opaque::try_ffi_init(init),
        })
    }

    /// Makes the folder for `F`, if the type is registered and has files.
    pub(super) fn make_folder<F: FileSystem>(&self) {
        // SAFETY: Set by `init`, and not changed after it.
        let name = unsafe { (*self.raw.get()).name };
        if name.is_null() || F::FILES.is_empty() {
            return;
        }
        // SAFETY: A name is static and NUL-terminated.
        let name = unsafe { CStr::from_char_ptr(name) };
        let mut folder = self.folder.lock();
        if folder.is_none() {
            match TypeFolder::new(name, F::FEATURES) {
                Ok(made) => *folder = Some(made),
                Err(e) => pr_err!("no folder /sys/fs/{}: error {}\n", name, e.to_errno()),
            }
        }
    }
}

/// The folder of a mount, while there is one.
#[pin_data]
pub(super) struct MountFolder<F: FileSystem> {
    /// Held for no longer than a look: a file's functions may want it.
    #[pin]
    folder: Mutex<Option<Folder<MountFile<F>>>>,
}

impl<F: FileSystem> MountFolder<F> {
    /// None.
    pub(super) fn new() -> impl PinInit<Self> {
        pin_init!(Self {
            folder <- new_mutex!(None, "vfs_mount_folder"),
        })
    }

    /// Makes it.
    ///
    /// # Safety
    ///
    /// This is that of `sb`, whose mount is done, and [`MountFolder::close`] will be called before
    /// its data goes.
    pub(super) unsafe fn open(&self, sb: &SuperBlock<F>) {
        if F::FILES.is_empty() {
            return;
        }
        // SAFETY: The type of a super block is the `raw` of an `FsType`, which is in the memory of
        // the module that it pins (`Registration`).
        let kind = unsafe {
            let raw: *mut Opaque<bindings::file_system_type> = (*sb.as_ptr()).s_type.cast();
            &*kernel::container_of!(raw, FsType, raw)
        };
        kind.make_folder::<F>();
        let parent = kind.folder.lock();
        let Some(parent) = &*parent else {
            return;
        };
        // INVARIANT: By the caller: they go with the folder.
        let files = F::FILES.iter().map(|file| MountFile {
            sb: NonNull::from(sb),
            file,
        });
        match Folder::new(&parent.object, sb.id(), files) {
            Ok(made) => *self.folder.lock() = Some(made),
            Err(e) => pr_err!(
                "{}: no folder in /sys/fs: error {}\n",
                sb.id(),
                e.to_errno()
            ),
        }
    }

    /// Removes it, and waits for those who are in a file of it. For good.
    pub(super) fn close(&self) {
        // Not with the lock held: they may want to tell of a change.
        let folder = self.folder.lock().take();
        drop(folder);
    }

    /// [`SuperBlock::file_changed`].
    pub(super) fn notify(&self, file: &CStr) {
        if let Some(folder) = &*self.folder.lock() {
            folder.notify(file);
        }
    }
}
