// SPDX-License-Identifier: GPL-2.0

//! What stands in the code of the file system: the points.

use super::{
    park,
    reached::{is_busy, Reached},
    step,
    Point, //
};
use crate::{
    fs::{Inode, Rext4},
    vfs::dio::DioBio,
};
use core::ops::Range;
use kernel::{error::Error, prelude::*, workqueue};

/// A delay point: the bytes of `inode` have reached it. Sleeps if it is armed for them, or if the
/// thread is stepped. So it stands where sleeping is allowed, under whatever locks that place
/// holds.
pub(crate) fn point(point: Point, inode: &Inode, bytes: Range<u64>) {
    // Without a list of errors there is none.
    let _ = may_fail(point, inode, bytes, &[]);
}

/// A [`point`] where the code can meet one of `errors`: returns it, if a session says so.
pub(crate) fn may_fail(
    point: Point,
    inode: &Inode,
    bytes: Range<u64>,
    errors: &'static [Error],
) -> Result {
    // The journal's own inode is mapped by commits, which wait for nobody here.
    if !is_busy() || !inode.fs().geo.inode_valid(inode.ino()) {
        return Ok(());
    }
    let here = Reached::new(point, inode, bytes, errors);
    if let Some(points) = park::points() {
        points.park(&here);
    }
    step::steps().map_or(Ok(()), |steps| steps.park(&here))
}

/// Submits a bio of a direct write, or makes it wait: a worker parks with it, while the request
/// counts as in flight and its submitter goes on. A submitter that is stepped parks itself, if the
/// workers are not stepped, too.
pub(crate) fn hold_bio(bio: DioBio<Rext4>, pos: u64) {
    let bytes = pos..pos + bio.len();
    if !is_busy() {
        return;
    }
    if !is_held(bio.inode(), bytes.clone()) {
        point(Point::DioSubmit, bio.inode(), bytes);
        return;
    }
    // Dropping the bio submits it, also if there is no memory for the work.
    let _ = workqueue::system_unbound().try_spawn(GFP_KERNEL, move || {
        point(Point::DioSubmit, bio.inode(), bytes);
        drop(bio);
    });
}

/// Whether a worker is to wait with the bio.
fn is_held(inode: &Inode, bytes: Range<u64>) -> bool {
    if step::steps().is_some_and(step::Steps::is_submitted_apart) {
        return true;
    }
    let here = Reached::new(Point::DioSubmit, inode, bytes, &[]);
    park::points().is_some_and(|points| points.is_armed(&here))
}
