// SPDX-License-Identifier: GPL-2.0

//! The registration of a file system.
//!
//! C headers: [`include/linux/fs.h`](srctree/include/linux/fs.h),
//! [`include/linux/fs/super_types.h`](srctree/include/linux/fs/super_types.h)

use super::{fill::kill_sb_callback, folder::FsType, FileSystem};
use crate::vfs::{
    bindings,
    fs_context,
    inode::InodeCache, //
};
use core::{mem, ptr};
use kernel::{
    error::to_result,
    prelude::*,
    str::CStr,
    sync::Arc,
    types::Opaque,
    InPlaceModule,
    ThisModule, //
};

/// What a module says that is a file system, and what it owns besides: made before its name can be
/// mounted, dropped when nobody can any more.
pub(crate) trait Describe: Send + Sync + Sized + 'static {
    /// The file system.
    type Fs: FileSystem;
    /// Its name.
    const NAME: &'static CStr;
    /// The name of the inodes in /proc/slabinfo.
    const INODES: &'static CStr;

    /// Makes what belongs to the module, and says which other name it answers to.
    fn init(module: &'static ThisModule) -> Result<(Self, Option<&'static CStr>)>;
}

/// A module that is a file system: the type for `module!`.
///
/// A name is registered as the last thing of all, since with the first one somebody may mount: if
/// the module failed to initialise after that, its memory would go with a super block in it (no
/// reference count keeps a module that fails). So a second name that is taken fails the module only
/// if it comes first.
#[pin_data]
pub(crate) struct FsModule<M: Describe> {
    #[pin]
    other: Registration<M::Fs>,
    #[pin]
    name: Registration<M::Fs>,
    own: M,
}

impl<M: Describe> InPlaceModule for FsModule<M> {
    fn init(module: &'static ThisModule) -> impl PinInit<Self, Error> {
        pin_init::pin_init_scope(move || {
            let cache = InodeCache::new(M::INODES)?;
            let (own, other) = M::init(module)?;
            let wanted = if other.is_some() {
                Wanted::IfFree
            } else {
                Wanted::Yes
            };
            let other = (
                other.unwrap_or(M::NAME),
                other.map_or(Wanted::No, |_| Wanted::Yes),
            );
            Ok(try_pin_init!(Self {
                own,
                other <- Registration::new(other.0, module, cache.clone(), other.1),
                name <- Registration::new(M::NAME, module, cache, wanted),
            }? Error)
            .pin_chain(|this| {
                this.other.fs_type.make_folder::<M::Fs>();
                this.name.fs_type.make_folder::<M::Fs>();
                Ok(())
            }))
        })
    }
}

/// Whether a name is to be registered.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Wanted {
    No,
    Yes,
    /// There is another one; `EBUSY` is not an error.
    IfFree,
}

/// A registered file system name. The name is free again when this is dropped.
///
/// # Invariants
///
/// Lies in the module's own data, where [`FsModule`] puts it, so it lives until the module goes: no
/// super block of the type is left then. (lockdep wants the lock classes of a file system type in
/// static memory, too.)
#[pin_data(PinnedDrop)]
struct Registration<F: FileSystem> {
    #[pin]
    fs_type: FsType,
    cache: Arc<InodeCache<F>>,
}

// SAFETY: The C side locks its list of file systems itself.
unsafe impl<F: FileSystem> Send for Registration<F> {}
// SAFETY: There is nothing to do through a shared reference.
unsafe impl<F: FileSystem> Sync for Registration<F> {}

impl<F: FileSystem> Registration<F> {
    /// Registers `name`. `EBUSY` if another file system has it. `EINVAL` if this is not in the
    /// memory of `module`: a box of it could be dropped while something is mounted.
    fn new(
        name: &'static CStr,
        module: &'static ThisModule,
        cache: Arc<InodeCache<F>>,
        wanted: Wanted,
    ) -> impl PinInit<Self, Error> {
        let module = module.as_ptr();
        try_pin_init!(Self {
            cache,
            fs_type <- FsType::new(move |slot| {
                // SAFETY: Compares addresses.
                if !unsafe { bindings::within_module(slot.cast(), module) } {
                    return Err(EINVAL);
                }
                // INVARIANT: As was just checked.
                // SAFETY: The slot is valid for writes; all zeroes is an empty type. It is
                // pinned and unregistered before it goes.
                unsafe {
                    slot.write(mem::zeroed());
                    (*slot).owner = module;
                    (*slot).init_fs_context = fs_context::init_callback_ptr::<F>();
                    (*slot).kill_sb = Some(kill_sb_callback::<F>);
                    (*slot).fs_flags = type_flags::<F>() as c_int;
                    if wanted == Wanted::No {
                        return Ok(());
                    }
                    (*slot).name = name.as_char_ptr();
                    match to_result(bindings::register_filesystem(slot)) {
                        Err(e) if wanted == Wanted::IfFree => {
                            pr_err!("the name {} cannot be had ({:?})\n", name, e);
                            (*slot).name = ptr::null();
                            Ok(())
                        }
                        result => result,
                    }
                }
            }),
        })
    }
}

fn type_flags<F: FileSystem>() -> u32 {
    let mut flags = bindings::FS_REQUIRES_DEV;
    if F::FLAGS.idmap {
        flags |= bindings::FS_ALLOW_IDMAP;
    }
    // `inode_set_ctime_current` sets them, `generic_fillattr` reads them.
    if F::FLAGS.multigrain_times {
        flags |= bindings::FS_MGTIME;
    }
    flags
}

/// The cache of the inodes of a super block.
///
/// # Safety
///
/// `sb` is a super block of file system `F`, valid for `'a`.
pub(in crate::vfs) unsafe fn cache_of<'a, F: FileSystem>(
    sb: *mut bindings::super_block,
) -> &'a InodeCache<F> {
    // SAFETY: `s_type` is in the `fs_type` of a `Registration<F>`. That is in the module's memory
    // by its invariant, and a super block pins the module.
    unsafe {
        let this = kernel::container_of!(
            (*sb).s_type.cast::<Opaque<bindings::file_system_type>>(),
            Registration<F>,
            fs_type.raw
        );
        &*Arc::as_ptr(&(*this).cache)
    }
}

#[pinned_drop]
impl<F: FileSystem> PinnedDrop for Registration<F> {
    fn drop(self: Pin<&mut Self>) {
        // Says EINVAL of one that is not registered.
        // SAFETY: The type is valid. By the type invariant no super block is left, since each pins
        // the module.
        unsafe { bindings::unregister_filesystem(self.fs_type.raw.get()) };
    }
}
