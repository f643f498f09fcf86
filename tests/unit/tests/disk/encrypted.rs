// SPDX-License-Identifier: GPL-2.0

//! What may stand in encrypted directories and links.

use crate::image::{geometry, geometry_with, Image};
use rext4_unit::disk::superblock::SbError;
use rext4_unit::disk::*;
use rext4_unit::short::entry;

/// Any bytes, but as many as a block of the cipher has.
#[test]
fn names() {
    let geo = geometry(1024, true);
    let block_with = |name: &[u8]| {
        let mut block = vec![0; 1024];
        dirent::make_dot_entries(&mut block, &geo, Ino::new(100), Ino::ROOT).unwrap();
        dirent::insert(&mut block, &geo, &entry(name, 12)).unwrap();
        dirent::update_csum(&mut block, &geo, 1).unwrap();
        block
    };
    for len in 1..=255 {
        let block = block_with(&vec![b'/'; len]);
        let want = if len < 16 {
            Err(Corrupt::DirentName)
        } else {
            Ok(())
        };
        assert_eq!(dirent::check_encrypted_block(&block, &geo, 1), want);
        let plain = dirent::check_block(&block, &geo, 1);
        assert_eq!(plain, Err(Corrupt::DirentName));
    }
    let name = [0u8; 16];
    let block = block_with(&name);
    assert_eq!(dirent::check_encrypted_block(&block, &geo, 1), Ok(()));
    let found = dirent::search_block(&block, &geo, &name).unwrap();
    assert_eq!(found.map(|(_, ino)| ino), Some(Ino::new(12)));
    let by = dirent::search_by(&block, &geo, |entry| entry.len() == 16).unwrap();
    assert_eq!(by, found);
    let none = dirent::search_by(&block, &geo, |entry| entry.len() == 17).unwrap();
    assert_eq!(none, None);
}

/// A length, and as many bytes.
#[test]
fn targets() {
    let target = |said: u16, len: usize| {
        let mut target = said.to_le_bytes().to_vec();
        target.resize(2 + len, 0);
        target
    };
    for said in 0..40u16 {
        for len in 0..40usize {
            let good = said != 0 && usize::from(said) == len;
            assert_eq!(encrypted::target_valid(&target(said, len)), good);
        }
    }
    assert!(!encrypted::target_valid(&[]));
    assert!(!encrypted::target_valid(&[1]));
}

/// The flag goes with the feature; a short target has any bytes, and its length before it.
#[test]
fn inodes() {
    let with = geometry_with(4096, |r| r.set_incompat(features::INCOMPAT_ENCRYPT, true));
    let without = geometry(4096, true);
    let mut target = 17u16.to_le_bytes().to_vec();
    target.extend([0; 17]);
    let mut inode = InodeFields {
        mode: inode::S_IFLNK | 0o777,
        links: 1,
        flags: inode::flags::ENCRYPT,
        ..InodeFields::default()
    };
    assert!(inode.set_fast_symlink(&target));
    assert_eq!(inode.check(&with), Ok(()));
    assert_eq!(inode.fast_symlink(), Ok(&*target));
    assert_eq!(inode.check(&without), Err(Corrupt::InodeFlags));
    inode.block[0] = 16;
    assert_eq!(inode.check(&with), Err(Corrupt::InodeSymlink));
    inode.block[0] = 17;
    inode.flags = 0;
    assert_eq!(inode.check(&with), Err(Corrupt::InodeSymlink));
}

/// There is one way of encryption.
#[test]
fn levels() {
    let image = Image::make(&["-b", "1024", "-O", "encrypt"], "16M", |_| {});
    let parse = |feature, level| {
        let mut raw = image.raw_super();
        raw.set_incompat(features::INCOMPAT_ENCRYPT, feature);
        raw.encryption_level = level;
        raw.update_checksum();
        Geometry::parse(&raw, image.data.len() as u64).map(|_| ())
    };
    assert_eq!(parse(true, 0), Ok(()));
    assert_eq!(parse(true, 1), Err(SbError::EncryptionLevel(1)));
    assert_eq!(parse(false, 1), Ok(()));
}
