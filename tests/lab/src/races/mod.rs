// SPDX-License-Identifier: GPL-2.0
//! The races, in the order of their table.

mod append;
mod collapse;
mod dax;
mod direct;
mod encrypted;
mod eof;
mod gate;
mod insert;
mod pin;
mod punch;
mod reserve;
mod stale;

use crate::race::Race;

pub static ALL: &[&Race] = &[
    &stale::WRITE_VS_WRITEBACK,
    &stale::WRITEBACK_VS_PUNCH,
    &punch::PUNCH_VS_FAULT,
    &punch::PUNCH_VS_STORE,
    &reserve::DOUBLE_RESERVE,
    &direct::DIO_VS_CACHE,
    &collapse::DIO_VS_COLLAPSE,
    &direct::DIO_OWN_MAPPING,
    &gate::OWN_MAPPING_LOCKED,
    &direct::DIO_READ_VS_DIRTY,
    &punch::AIO_VS_PUNCH,
    &gate::CROSSED_MAPPINGS,
    &gate::DIO_VS_STORE,
    &gate::DIO_VS_TURN,
    &collapse::GATE_VS_COLLAPSE,
    &reserve::DIRTY_OVER_HOLE,
    &reserve::ENOSPC_IN_FAULT,
    &reserve::FAULT_ON_FULL_DISK,
    &reserve::COMMIT_VS_SEARCH,
    &reserve::NODE_VS_BLOCK,
    &direct::INVALIDATION_FAILS,
    &eof::EOF_GARBAGE,
    &eof::TAIL_AFTER_TRUNCATE,
    &eof::EXTENTS_BEFORE_CACHE,
    &dax::PIN_VS_PUNCH,
    &dax::FAULT_VS_PUNCH,
    &encrypted::PLAIN_ON_DISK,
    &eof::PUNCH_VS_SIZE,
    &stale::SEEK_VS_WRITEBACK,
    &append::TAIL_VS_AIO,
    &append::ZERO_VS_APPEND,
    &pin::PIN_VS_PUNCH,
    &append::APPEND_VS_READ,
    &pin::PIN_VS_DIO,
    &insert::INSERT_VS_WRITEBACK,
    &dax::WRITE_VS_FAULT,
    &pin::PIN_VS_END,
    &collapse::COLLAPSE_VS_PUNCH,
];

/// The size of a page, and of a block where blocks are not smaller.
const PAGE: usize = 4096;
