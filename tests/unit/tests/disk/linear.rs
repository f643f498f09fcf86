// SPDX-License-Identifier: GPL-2.0

//! Single directory blocks.

use crate::image::geometry;
use rext4_unit::disk::*;
use rext4_unit::short::{at, entry};

/// Positions handed out by readdir stay good when entries before them are merged.
#[test]
fn iteration_starts_anywhere() {
    let geo = geometry(1024, true);
    let mut block = vec![0; 1024];
    dirent::make_dot_entries(&mut block, &geo, Ino::new(100), Ino::ROOT).unwrap();
    for i in 0..20 {
        let name = format!("file{i}");
        dirent::insert(&mut block, &geo, &entry(name.as_bytes(), 12 + i)).unwrap();
    }
    let all: Vec<usize> = dirent::entries_from(&block, &geo, 0)
        .map(|e| e.unwrap().offset)
        .collect();
    assert_eq!(all.len(), 22);
    for from in 0..1024 {
        let got: Vec<usize> = dirent::entries_from(&block, &geo, from)
            .map(|e| e.unwrap().offset)
            .collect();
        let want: Vec<usize> = all.iter().copied().filter(|&o| o >= from).collect();
        assert_eq!(got, want);
    }
    dirent::delete_entry(&mut block, &geo, at(all[5])).unwrap();
    let got: Vec<usize> = dirent::entries_from(&block, &geo, all[5])
        .map(|e| e.unwrap().offset)
        .collect();
    assert_eq!(got, all[6..]);
    assert_eq!(
        dirent::delete_entry(&mut block, &geo, at(all[5])),
        Err(Corrupt::DirentOffset)
    );
}

#[test]
fn parents_can_be_changed() {
    let geo = geometry(1024, true);
    let mut block = vec![0; 1024];
    dirent::make_dot_entries(&mut block, &geo, Ino::new(100), Ino::ROOT).unwrap();
    dirent::set_parent(&mut block, &geo, Ino::new(77)).unwrap();
    dirent::update_csum(&mut block, &geo, 1).unwrap();
    dirent::check_block(&block, &geo, 1).unwrap();
    let dots = dirent::dots(&block, &geo).unwrap();
    assert_eq!((dots.ino, dots.parent), (Ino::new(100), Ino::new(77)));
    assert_eq!(
        dirent::set_parent(&mut block, &geo, Ino::new(0)),
        Err(Corrupt::DirentInode)
    );
    assert!(dirent::is_empty(&block, &geo).unwrap());
    assert_eq!(
        dirent::check_block(&block, &geo, 2),
        Err(Corrupt::DirentChecksum)
    );
}

/// What a search found is removed from where it is, with names between it and the one before it
/// that came since, and the first name of a block, which has none before it.
#[test]
fn found_names_are_removed() {
    let geo = geometry(1024, true);
    let mut full = vec![0; 1024];
    dirent::init_block(&mut full, &geo).unwrap();
    // With room behind each for another one, and names of less than a word.
    for i in 0..9u8 {
        let name = [b'a' + i; 30];
        dirent::insert(&mut full, &geo, &entry(&name, 12)).unwrap();
        let short = [b'a' + i; 2];
        dirent::insert(&mut full, &geo, &entry(&short, 13)).unwrap();
    }
    for i in 0..9u8 {
        let (long, short) = ([b'a' + i; 30], [b'a' + i; 2]);
        let mut block = full.clone();
        let (gap, _) = dirent::search_block(&block, &geo, &long).unwrap().unwrap();
        let (found, ino) = dirent::search_block(&block, &geo, &short).unwrap().unwrap();
        assert_eq!((ino, found.before), (Ino::new(13), gap.offset));
        // Its bytes go to the one before, or it stays as an unused one; another name takes them.
        dirent::delete_entry(&mut block, &geo, gap).unwrap();
        dirent::insert(&mut block, &geo, &entry(b"another", 14)).unwrap();
        let (found, _) = dirent::search_block(&block, &geo, &short).unwrap().unwrap();
        dirent::insert(&mut block, &geo, &entry(b"one", 15)).unwrap();
        dirent::delete_entry(&mut block, &geo, found).unwrap();
        assert_eq!(dirent::search_block(&block, &geo, &short), Ok(None));
        for name in [&b"another"[..], b"one"] {
            assert!(dirent::search_block(&block, &geo, name).unwrap().is_some());
        }
        dirent::update_csum(&mut block, &geo, 1).unwrap();
        dirent::check_block(&block, &geo, 1).unwrap();
        assert_eq!(dirent::entries_from(&block, &geo, 0).count(), 18);
    }
}

/// What is wrong with an entry is found by who passes it, if it does not lead to the next one.
#[test]
fn a_search_does_not_lose_its_way() {
    let geo = geometry(1024, false);
    let mut good = vec![0; 1024];
    dirent::init_block(&mut good, &geo).unwrap();
    for name in [b"name", b"file", b"last"] {
        dirent::insert(&mut good, &geo, &entry(name, 12)).unwrap();
    }
    for (at, value, what) in [
        (12 + 4, 8, Corrupt::DirentRecLen),
        (12 + 4, 14, Corrupt::DirentRecLen),
        (12 + 6, 9, Corrupt::DirentNameLen),
        (12 + 5, 255, Corrupt::DirentOverrun),
        (24 + 4, 0xe0, Corrupt::DirentOverrun),
    ] {
        let mut bad = good.clone();
        bad[at] = value;
        assert_eq!(
            dirent::search_block(&bad, &geo, b"none"),
            Err(what),
            "byte {at}"
        );
        let room = dirent::insert(&mut bad, &geo, &entry(&[b'x'; 255], 12));
        assert_eq!(room, Err(what), "byte {at}");
        // What comes before it is found.
        assert!(dirent::search_block(&bad, &geo, b"name").unwrap().is_some());
    }
}

/// No byte of what lay there before gets into an entry.
#[test]
fn entries_carry_no_old_bytes() {
    let geo = geometry(1024, false);
    for len in 1..9 {
        let mut block = vec![0; 1024];
        dirent::init_block(&mut block, &geo).unwrap();
        block[8..].fill(0xee);
        dirent::insert(&mut block, &geo, &entry(&b"nnnnnnnn"[..len], 12)).unwrap();
        assert_eq!(&block[8..8 + len], &b"nnnnnnnn"[..len]);
        assert!(block[8 + len..dirent::needed(len)].iter().all(|&b| b == 0));
    }
}

/// Each rule of an entry, broken alone.
#[test]
fn bad_entries_are_refused() {
    let geo = geometry(1024, false);
    let mut good = vec![0; 1024];
    dirent::make_dot_entries(&mut good, &geo, Ino::new(100), Ino::ROOT).unwrap();
    dirent::insert(&mut good, &geo, &entry(b"name", 12)).unwrap();
    dirent::check_block(&good, &geo, 0).unwrap();
    for (at, value, what) in [
        (28, 8, Corrupt::DirentRecLen),
        (28, 14, Corrupt::DirentRecLen),
        (28, 255, Corrupt::DirentRecLen),
        (29, 255, Corrupt::DirentOverrun),
        (4, 8, Corrupt::DirentRecLen),
        (27, 200, Corrupt::DirentInode),
        (30, 0, Corrupt::DirentName),
        (33, b'/', Corrupt::DirentName),
        (33, 0, Corrupt::DirentName),
    ] {
        let mut bad = good.clone();
        bad[at] = value;
        assert_eq!(dirent::check_block(&bad, &geo, 0), Err(what), "byte {at}");
    }
    // A name longer than its entry, and room at the end too small for another entry.
    let mut bad = good.clone();
    bad[16] = 12;
    bad[17] = 0;
    bad[18] = 5;
    assert_eq!(
        dirent::check_block(&bad, &geo, 0),
        Err(Corrupt::DirentNameLen)
    );
    let mut bad = good;
    let rest = 1024 - 24 - 8u16;
    bad[28..30].copy_from_slice(&rest.to_le_bytes());
    assert_eq!(
        dirent::check_block(&bad, &geo, 0),
        Err(Corrupt::DirentOverrun)
    );
}

/// Somebody writes to the tail between the look at it and the checksum: what was changed gets one.
#[test]
fn a_changed_block_gets_its_checksum() {
    let geo = geometry(1024, true);
    let mut block = vec![0; 1024];
    dirent::make_dot_entries(&mut block, &geo, Ino::new(100), Ino::ROOT).unwrap();
    dirent::check_tail(&block[..], &geo).unwrap();
    let tail = block[1024 - 12..1024 - 4].to_vec();
    block[1024 - 12..].fill(0x5A);
    assert_eq!(
        dirent::update_csum(&mut block[..], &geo, 1),
        Err(Corrupt::DirentTail)
    );
    dirent::put_csum(&mut block[..], &geo, 1).unwrap();
    // The rest is his.
    block[1024 - 12..1024 - 4].copy_from_slice(&tail);
    dirent::check_block(&block, &geo, 1).unwrap();
}

/// Names are looked at by words: both bytes that none may have, at each place of each length.
#[test]
fn bytes_that_no_name_has() {
    assert!(!dirent::name_valid(b""));
    for len in 1..=dirent::NAME_MAX + 1 {
        // Bytes that differ from those by one bit, and the lowest after the highest.
        for fill in [0x01, 0x2e, 0x2f ^ 0x80, 0x30, 0x80, 0xff] {
            let mut name = vec![fill; len];
            assert_eq!(dirent::name_valid(&name), len <= dirent::NAME_MAX);
            for at in 0..len {
                for bad in [0, b'/'] {
                    name[at] = bad;
                    assert!(!dirent::name_valid(&name), "{bad} at {at} of {len}");
                }
                name[at] = fill;
            }
        }
    }
}
