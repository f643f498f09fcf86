// SPDX-License-Identifier: GPL-2.0

//! Changes of lists of attributes against a model, and ACLs.

use crate::image::geometry;
use proptest::prelude::*;
use rext4_unit::disk::xattr::{self, XattrEntries};
use rext4_unit::disk::xattr_edit::{self, AttrChange, Place, Rewritten};
use rext4_unit::disk::{acl, Corrupt, Geometry, Pblk};

const PBLK: Pblk = Pblk::new(50);

type Model = Vec<((u8, Vec<u8>), Vec<u8>)>;

fn entries<'a>(place: Place, bytes: &'a [u8], geo: &Geometry) -> Option<XattrEntries<'a>> {
    match place {
        Place::Inode => xattr::inode_entries(bytes).unwrap(),
        Place::Block if bytes[0] == 0 && bytes[3] == 0 => None,
        Place::Block => {
            xattr::check_block(bytes, geo, PBLK).unwrap();
            Some(xattr::block_entries(bytes, geo).unwrap())
        }
    }
}

fn list(entries: Option<XattrEntries<'_>>) -> Model {
    let pair = |e: xattr::XattrEntry<'_>| ((e.name_index, e.name.to_vec()), e.value.to_vec());
    entries
        .into_iter()
        .flatten()
        .map(|e| pair(e.unwrap()))
        .collect()
}

/// Bytes that a list takes, the end of it included.
fn size(model: &Model) -> usize {
    let round = |n: usize| n.next_multiple_of(4);
    let each =
        |((_, name), value): &((u8, Vec<u8>), Vec<u8>)| 16 + round(name.len()) + round(value.len());
    4 + model.iter().map(each).sum::<usize>()
}

fn change() -> impl Strategy<Value = (u8, Vec<u8>, Option<Vec<u8>>)> {
    let value = proptest::collection::vec(any::<u8>(), 0..200);
    let name = proptest::collection::vec(b'a'..=b'c', 1..3);
    (1u8..4, name, proptest::option::weighted(0.7, value))
}

/// An entry with neither prefix nor name, where the list ended: written anew it would come first,
/// as its end, and all attributes would be gone.
#[test]
fn an_entry_without_a_name_is_refused() {
    let geo = geometry(1024, false);
    let change = AttrChange {
        name_index: 1,
        name: b"a",
        value: Some(b"kept"),
    };
    let mut block = vec![0; 1024];
    xattr_edit::rewrite(None, &change, Place::Block, &mut block).unwrap();
    xattr::set_refcount(&mut block, &geo, PBLK, 1).unwrap();
    xattr::check_block(&block, &geo, PBLK).unwrap();
    // Behind the one entry, the offset of a value.
    block[32 + 16 + 4 + 2] = 1;
    assert_eq!(
        xattr::check_block(&block, &geo, PBLK),
        Err(Corrupt::XattrEntry)
    );
}

/// A list of an inode with values of these lengths, named a, b and so on.
fn with_values(lens: &[usize]) -> Vec<u8> {
    let mut bytes = vec![0; 512];
    for (i, len) in lens.iter().enumerate() {
        let (name, value) = ([b'a' + i as u8], vec![i as u8; *len]);
        let change = AttrChange {
            name_index: 1,
            name: &name,
            value: Some(&value),
        };
        let old = xattr::inode_entries(&bytes).unwrap();
        let mut new = vec![0; 512];
        xattr_edit::rewrite(old, &change, Place::Inode, &mut new).unwrap();
        bytes = new;
    }
    bytes
}

/// The smallest that is enough goes, else the last that there is room for.
#[test]
fn which_attribute_leaves() {
    // They take 24, 60, 40, 60 and 20 bytes.
    let bytes = with_values(&[4, 40, 20, 40, 0]);
    let leaves = |need, room| {
        let list = xattr::inode_entries(&bytes).unwrap().unwrap();
        let entry = xattr_edit::to_leave(list, need, room).unwrap();
        entry.map(|e| char::from(e.name[0]))
    };
    assert_eq!(leaves(1, 100), Some('e'));
    assert_eq!(leaves(20, 20), Some('e'));
    assert_eq!(leaves(21, 100), Some('a'));
    assert_eq!(leaves(25, 100), Some('c'));
    assert_eq!(leaves(60, 60), Some('b'));
    assert_eq!(leaves(61, 100), Some('e'));
    assert_eq!(leaves(41, 59), Some('e'));
    assert_eq!(leaves(1, 19), None);
    let list = xattr::inode_entries(&bytes).unwrap();
    assert_eq!(xattr_edit::used(list, Place::Inode), Ok(4 + 204 + 4));
    assert_eq!(xattr_edit::used(None, Place::Block), Ok(0));
}

/// A list in more or less room is as it was, or does not fit.
#[test]
fn lists_in_another_room() {
    let bytes = with_values(&[3, 0, 17, 40]);
    let old = || xattr::inode_entries(&bytes).unwrap().unwrap();
    let used = xattr_edit::used(Some(old()), Place::Inode).unwrap();
    for room in (0..600).step_by(4) {
        let mut new = vec![0xaa; room];
        let result = xattr_edit::fit(old(), &mut new).unwrap();
        assert_eq!(result == Rewritten::Full, room < used, "{room}");
        if result == Rewritten::Filled {
            let found = xattr::inode_entries(&new).unwrap();
            assert_eq!(list(found), list(Some(old())), "{room}");
        }
    }
}

proptest! {
    /// Any changes: the list has what the model has, in order in a block, as long as it fits.
    #[test]
    fn lists_are_as_the_model(
        changes in proptest::collection::vec(change(), 1..60),
        block in any::<bool>(),
    ) {
        let geo = geometry(1024, true);
        let (place, len, head) = if block {
            (Place::Block, 1024, 32)
        } else {
            (Place::Inode, 300, 4)
        };
        let mut bytes = vec![0; len];
        let mut model = Model::new();
        for (index, name, value) in &changes {
            let change = AttrChange { name_index: *index, name, value: value.as_deref() };
            let mut new = vec![0xaa; len];
            let old = entries(place, &bytes, &geo);
            let result = xattr_edit::rewrite(old, &change, place, &mut new).unwrap();
            let mut next = model.clone();
            let key = (*index, name.clone());
            let at = next.iter().position(|(k, _)| *k == key);
            match (at, value) {
                (Some(at), Some(value)) => next[at].1 = value.clone(),
                (Some(at), None) => drop(next.remove(at)),
                (None, Some(value)) => next.push((key, value.clone())),
                (None, None) => (),
            }
            let fits = head + size(&next) <= len;
            prop_assert_eq!(result == Rewritten::Full, !fits);
            if !fits {
                continue;
            }
            prop_assert_eq!(result == Rewritten::Empty, next.is_empty());
            if result == Rewritten::Empty {
                prop_assert!(new.iter().all(|b| *b == 0));
            } else if block {
                xattr::set_refcount(&mut new, &geo, PBLK, 1).unwrap();
                entries(place, &new, &geo).unwrap().check_hashes().unwrap();
                prop_assert!(xattr::same_entries(&new, &new, &geo).unwrap());
            }
            let got = list(entries(place, &new, &geo));
            if block {
                next.sort_by_key(|((index, name), _)| (*index, name.len(), name.clone()));
            }
            prop_assert_eq!(&got, &next);
            (bytes, model) = (new, next);
        }
    }

    /// Whatever lies there: what passes the checks can be changed, and passes them again.
    #[test]
    fn damaged_lists_do_no_harm(
        (index, name, value) in change(),
        at in 32usize..300,
        garbage in proptest::collection::vec(any::<u8>(), 1..6),
    ) {
        let geo = geometry(1024, false);
        let mut block = vec![0; 1024];
        let mut old = None;
        for n in 0..6u8 {
            let name = [b'a', n + b'a'];
            let change = AttrChange { name_index: 1, name: &name, value: Some(&[n; 30]) };
            let mut new = vec![0; 1024];
            xattr_edit::rewrite(old, &change, Place::Block, &mut new).unwrap();
            block = new;
            old = Some(xattr::block_entries(&block, &geo).unwrap());
        }
        block[at..at + garbage.len()].copy_from_slice(&garbage);
        if xattr::check_block(&block, &geo, PBLK).is_ok() {
            let change = AttrChange { name_index: index, name: &name, value: value.as_deref() };
            let old = xattr::block_entries(&block, &geo).unwrap();
            let mut new = vec![0; 1024];
            let result = xattr_edit::rewrite(Some(old), &change, Place::Block, &mut new).unwrap();
            if result == Rewritten::Filled {
                xattr::check_block(&new, &geo, PBLK).unwrap();
                let list = xattr::block_entries(&new, &geo).unwrap();
                list.check_hashes().unwrap();
                let found = list.find(index, &name).unwrap().map(|e| e.value.to_vec());
                prop_assert_eq!(found, value);
            }
        }
    }

    /// An ACL that was written is read as it was; cut anywhere it is refused, or ends there.
    #[test]
    fn lists_of_access_come_back(
        all in proptest::collection::vec((0usize..6, 0u16..8, any::<u32>()), 0..20),
        cut in 0usize..100,
    ) {
        let entry = |(tag, perm, id): &(usize, u16, u32)| {
            let tag = [1u16, 2, 4, 8, 16, 32][*tag];
            let id = matches!(tag, 2 | 8).then_some(*id);
            acl::AclEntry { tag, perm: *perm, id }
        };
        let want: Vec<_> = all.iter().map(entry).collect();
        let mut value = vec![0xaa; acl::encoded_size(want.iter().copied()).unwrap()];
        acl::encode(want.iter().copied(), &mut value).unwrap();
        let (count, got) = acl::parse(&value).unwrap();
        prop_assert_eq!(count, want.len());
        prop_assert_eq!(got.collect::<Result<Vec<_>, _>>().unwrap(), want);
        let cut = cut % value.len();
        let shorter = acl::parse(&value[..cut]).map(|(count, _)| count);
        match shorter {
            Ok(count) => prop_assert!(count < all.len()),
            Err(why) => prop_assert!(matches!(why, Corrupt::AclHeader | Corrupt::AclEntry)),
        }
    }
}

/// Hashes that are wrong, or of another kind of character.
#[test]
fn hashes_are_checked() {
    let geo = geometry(1024, false);
    let mut block = vec![0; 1024];
    let name = "\u{e4}b".as_bytes();
    let change = AttrChange {
        name_index: 1,
        name,
        value: Some(b"value"),
    };
    xattr_edit::rewrite(None, &change, Place::Block, &mut block).unwrap();
    let list = |block: &[u8]| xattr::block_entries(block, &geo).unwrap().check_hashes();
    list(&block).unwrap();
    let hash = u32::from_le_bytes(block[44..48].try_into().unwrap());
    let mut signed = 0u32;
    for b in name {
        signed = signed.rotate_left(5) ^ (*b as i8 as u32);
    }
    for word in [*b"valu", *b"e\0\0\0"] {
        signed = signed.rotate_left(16) ^ u32::from_le_bytes(word);
    }
    assert_ne!(hash, signed);
    for (stored, good) in [(signed, true), (0, true), (hash ^ 1, false)] {
        block[44..48].copy_from_slice(&stored.to_le_bytes());
        assert_eq!(list(&block).is_ok(), good, "{stored:x}");
    }
}
