// SPDX-License-Identifier: GPL-2.0

//! Folders in /sys. A file there is a line, made when it is read.
//!
//! Who reads or writes a file holds an active reference to it during the call, and its removal
//! waits until there is none (`kernfs_drain()`). After that nobody is called, also of those that
//! have the file open: they get `ENODEV`. So what is behind a file has to live as long as its
//! folder, and who removes that holds nothing that a file's functions want.
//!
//! The objects are those of `kobject_create_and_add()`, which the kernel frees by itself when it
//! likes: no code of this module is needed for that.
//!
//! C headers: [`include/linux/kobject.h`](srctree/include/linux/kobject.h),
//! [`include/linux/sysfs.h`](srctree/include/linux/sysfs.h)

use super::bindings;
use core::{marker::PhantomData, ptr, ptr::NonNull, slice};
use kernel::{
    error::{from_result, to_result},
    prelude::*,
    str::CStr,
    types::Opaque, //
};

/// What a file shows.
pub(crate) enum Shown {
    /// A number.
    Number(u64),
    /// These bytes up to the first zero.
    Text([u8; 32]),
    /// A word.
    Word(&'static CStr),
}

impl From<u64> for Shown {
    fn from(number: u64) -> Self {
        Self::Number(number)
    }
}

/// What somebody writes to a file.
///
/// # Invariants
///
/// The pointer is to so many bytes and a zero behind them, which do not change for `'a`.
pub(crate) struct Written<'a>(*const c_char, usize, PhantomData<&'a [u8]>);

impl Written<'_> {
    /// The bytes, most often with a newline at the end.
    pub(crate) fn bytes(&self) -> &[u8] {
        // SAFETY: By the type invariant.
        unsafe { slice::from_raw_parts(self.0.cast(), self.1) }
    }

    /// As a number: decimal, octal after `0`, hexadecimal after `0x`. `EINVAL`, `ERANGE`.
    pub(crate) fn number(&self) -> Result<u64> {
        let mut number = 0;
        // SAFETY: By the type invariant the text ends with a zero.
        to_result(unsafe { bindings::sysfs_number(self.0, &mut number) })?;
        Ok(number)
    }
}

/// What is behind a file. The functions are called with no lock held, in the task of who reads or
/// writes, and while the folder lives.
pub(super) trait FileContent: Send + Sync {
    /// The name of the file.
    fn name(&self) -> &'static CStr;
    /// Who may read and write it.
    fn mode(&self) -> u16;
    /// The file is read.
    fn show(&self) -> Result<Shown>;
    /// The file is written.
    fn store(&self, text: &Written<'_>) -> Result;
}

/// A file of a folder: what sysfs keeps of it, and what is behind it.
struct Attribute<T> {
    attr: Opaque<bindings::kobj_attribute>,
    content: T,
}

/// An object with a folder, which goes with this.
///
/// # Invariants
///
/// The pointer is to an object of `kobject_create_and_add()` of which we have a count.
pub(super) struct Kobject(NonNull<bindings::kobject>);

// SAFETY: The C functions lock as they need.
unsafe impl Send for Kobject {}
// SAFETY: As above.
unsafe impl Sync for Kobject {}

impl Kobject {
    /// `/sys/fs/NAME`, with nothing in it. Sleeps.
    pub(super) fn in_fs(name: &CStr) -> Result<Self> {
        // SAFETY: The object of /sys/fs is there since boot.
        unsafe { Self::new(name, bindings::fs_kobj()) }
    }

    /// `ENOMEM`, also where there is one of the name: C does not tell, but the log does.
    ///
    /// # Safety
    ///
    /// `parent` is an object with a folder.
    unsafe fn new(name: &CStr, parent: *mut bindings::kobject) -> Result<Self> {
        // SAFETY: By the caller; the name is copied.
        let made = unsafe { bindings::kobject_create_and_add(name.as_char_ptr(), parent) };
        // INVARIANT: New.
        NonNull::new(made).map(Self).ok_or(ENOMEM)
    }
}

impl Drop for Kobject {
    fn drop(&mut self) {
        // SAFETY: By the type invariant. The first call takes the folder away and waits for who is
        // in a file of it; the second alone might do that later (CONFIG_DEBUG_KOBJECT_RELEASE).
        unsafe {
            bindings::kobject_del(self.0.as_ptr());
            bindings::kobject_put(self.0.as_ptr());
        }
    }
}

/// A folder with files, all of them removed when this is dropped.
pub(super) struct Folder<T> {
    /// Goes first: after it nobody is in a file.
    object: Kobject,
    /// Never moves nor changes: sysfs has pointers to the elements.
    _files: KVec<Attribute<T>>,
}

impl<T: FileContent> Folder<T> {
    /// Makes `name` in `parent`, with these files. Sleeps. No file is there on an error.
    pub(super) fn new(
        parent: &Kobject,
        name: &CStr,
        contents: impl ExactSizeIterator<Item = T>,
    ) -> Result<Self> {
        let mut files = KVec::with_capacity(contents.len(), GFP_KERNEL)?;
        for content in contents {
            let attr = Opaque::uninit();
            files.push(Attribute { attr, content }, GFP_KERNEL)?;
        }
        let this = Self {
            // SAFETY: By its type invariant.
            object: unsafe { Kobject::new(name, parent.0.as_ptr()) }?,
            _files: files,
        };
        for file in &this._files {
            let (name, mode) = (file.content.name().as_char_ptr(), file.content.mode());
            let attr = file.attr.get();
            // SAFETY: The attribute is in memory that stays where it is, also when the vector is
            // moved, until the folder is gone. The name is static. The functions are called with
            // the address of this attribute only, and while it is in the folder.
            unsafe {
                bindings::sysfs_file_init(attr, name, mode, Some(show::<T>), Some(store::<T>));
                to_result(bindings::sysfs_create_file(this.object.0.as_ptr(), attr))?;
            }
        }
        Ok(this)
    }

    /// Wakes those who poll a file. Sleeps, for memory as well: the caller holds nothing that
    /// reclaim may want.
    pub(super) fn notify(&self, file: &CStr) {
        let object = self.object.0.as_ptr();
        // SAFETY: By the type invariant of `Kobject`; null is the folder itself.
        unsafe { bindings::sysfs_notify(object, ptr::null(), file.as_char_ptr()) }
    }
}

/// # Safety
///
/// `attr` is that of an [`Attribute`] of `T` in a folder, whose removal waits for the return.
unsafe fn content<'a, T: FileContent>(attr: *mut bindings::kobj_attribute) -> &'a T {
    let attr: *mut Opaque<bindings::kobj_attribute> = attr.cast();
    // SAFETY: By the caller.
    unsafe { &(*kernel::container_of!(attr, Attribute<T>, attr)).content }
}

/// # Safety
///
/// As for [`content`]; `page` is a page of this task.
unsafe extern "C" fn show<T: FileContent>(
    _object: *mut bindings::kobject,
    attr: *mut bindings::kobj_attribute,
    page: *mut c_char,
) -> isize {
    from_result(|| {
        // SAFETY: By the caller.
        let shown = unsafe { content::<T>(attr) }.show()?;
        let text = match &shown {
            // SAFETY: By the caller.
            Shown::Number(n) => return Ok(unsafe { bindings::sysfs_emit_number(page, *n) }),
            Shown::Text(bytes) => bytes.split(|&byte| byte == 0).next().unwrap_or(&[]),
            Shown::Word(word) => word.to_bytes(),
        };
        // CAST: A line.
        let len = text.len() as u32;
        // SAFETY: By the caller; so many bytes are read.
        Ok(unsafe { bindings::sysfs_emit_text(page, text.as_ptr().cast(), len) })
    })
}

/// # Safety
///
/// As for [`content`]; `text` are `len` bytes of this task, and a zero behind them.
unsafe extern "C" fn store<T: FileContent>(
    _object: *mut bindings::kobject,
    attr: *mut bindings::kobj_attribute,
    text: *const c_char,
    len: usize,
) -> isize {
    from_result(|| {
        // INVARIANT: By the caller: `kernfs_fop_write_iter()` puts the zero there.
        let text = Written(text, len, PhantomData);
        // SAFETY: By the caller.
        unsafe { content::<T>(attr) }.store(&text)?;
        // CAST: At most a page.
        Ok(len as isize)
    })
}
