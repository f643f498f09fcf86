// SPDX-License-Identifier: GPL-2.0
//! The cases by topic. What they are made with is the kit: the library of this crate.

pub mod content;
pub mod damage;
pub mod direct;
pub mod events;
pub mod format;
pub mod namespace;
pub mod power;
pub mod programs;
pub mod samples;
pub mod space;

use crate::harness::Case;

/// Every set of cases, in the order they run.
pub static SETS: &[&[Case]] = &[
    namespace::names::CASES,
    namespace::rename::CASES,
    namespace::whiteout::CASES,
    namespace::dirs::CASES,
    namespace::dirs_hash::CASES,
    namespace::dirs_large::CASES,
    namespace::attr::CASES,
    namespace::chattr::CASES,
    namespace::xattr::CASES,
    namespace::xattr_shared::CASES,
    namespace::acl::CASES,
    namespace::handles::CASES,
    namespace::nfs::CASES,
    namespace::mounts::CASES,
    format::about::CASES,
    format::compare::CASES,
    content::data::CASES,
    content::trunc::CASES,
    content::falloc::CASES,
    content::shift::CASES,
    content::exchange::CASES,
    content::zeroes::CASES,
    content::nowait::CASES,
    content::extents::CASES,
    content::mmap::CASES,
    content::mmap_under::CASES,
    direct::dio::CASES,
    direct::dio_async::CASES,
    direct::dio_end::CASES,
    direct::gate::CASES,
    direct::gate_source::CASES,
    direct::pin::CASES,
    direct::whole::CASES,
    space::enomem::CASES,
    space::enospc::CASES,
    space::enospc_tree::CASES,
    space::promise::CASES,
    space::trim::CASES,
    space::discard::CASES,
    space::fsmap::CASES,
    content::fsx::CASES,
    power::crash::CASES,
    power::checkpoint::CASES,
    power::journal::CASES,
    power::powercut::CASES,
    power::replace::CASES,
    power::replay::CASES,
    power::orphans::CASES,
    power::slots::CASES,
    power::shutdown::CASES,
    power::shutdown_answers::CASES,
    power::slow_data::CASES,
    space::nomem::CASES,
    format::features::CASES,
    damage::bad::CASES,
    damage::bad_file::CASES,
    damage::bad_dir::CASES,
    damage::bad_map::CASES,
    damage::baddev::CASES,
    damage::failing::CASES,
    damage::eio::CASES,
    damage::half::CASES,
    damage::errors::CASES,
    damage::marks::CASES,
    damage::freeze::CASES,
    damage::freed::CASES,
    format::refusals::CASES,
    format::large::CASES,
    format::older::CASES,
    format::maps::CASES,
    format::options::CASES,
    format::sysfs::CASES,
    format::uuid::CASES,
    content::diff::CASES,
    content::swap::CASES,
    content::sync::CASES,
    events::trace::CASES,
    events::fanotify::CASES,
    programs::CASES,
    samples::CASES,
];
