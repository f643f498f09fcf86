// SPDX-License-Identifier: GPL-2.0

//! Directories built by the code under test, as a filesystem would: checked against a model, and
//! by e2fsck inside a real image.

use crate::image::{geometry, Image};
use proptest::prelude::*;
use rext4_unit::disk::hash::{HashVersion, Hasher};
use rext4_unit::disk::htree::{self, DxNode, HashedEntry, MAX_LEAF_ENTRIES};
use rext4_unit::disk::*;
use rext4_unit::short::dx;
use std::collections::BTreeMap;

/// What `Dir::add` did.
#[derive(Debug, PartialEq, Eq)]
enum Added {
    Yes,
    /// A block more than allowed would be needed; nothing was added.
    NoBlocks,
}

/// A directory in memory.
struct Dir {
    geo: Geometry,
    seed: u32,
    blocks: Vec<Vec<u8>>,
    max_blocks: usize,
    indexed: bool,
}

/// The path from the root to a leaf: for each level the block, its node and the entry taken.
type Frames = Vec<(usize, DxNode, u16)>;

impl Dir {
    fn new(geo: &Geometry, seed: u32, ino: Ino, max_blocks: usize) -> Self {
        let mut block = vec![0xaa; geo.block_size as usize];
        dirent::make_dot_entries(&mut block, geo, ino, Ino::ROOT).unwrap();
        let mut dir = Dir {
            geo: geo.clone(),
            seed,
            blocks: vec![block],
            max_blocks,
            indexed: false,
        };
        dir.seal_leaf(0);
        dir
    }

    fn seal_leaf(&mut self, n: usize) {
        dirent::update_csum(&mut self.blocks[n], &self.geo, self.seed).unwrap();
    }

    fn seal_node(&mut self, n: usize, node: &DxNode) {
        htree::update_csum(&mut self.blocks[n], &self.geo, node, self.seed).unwrap();
    }

    fn append(&mut self) -> usize {
        self.blocks.push(vec![0x55; self.geo.block_size as usize]);
        self.blocks.len() - 1
    }

    fn hasher(&self) -> Hasher {
        let root = htree::parse_root(&self.blocks[0], &self.geo).unwrap();
        Hasher::new(&self.geo, root.version)
    }

    /// Walks down to the leaf for a hash, checking every node.
    fn probe(&self, hash: u32) -> (Frames, usize) {
        let blocks = self.blocks.len() as u32;
        let root = htree::parse_root(&self.blocks[0], &self.geo).unwrap();
        let mut frames = Vec::new();
        let mut at = 0;
        let mut node = root.node;
        for level in 0..=root.indirect_levels {
            if level > 0 {
                node = htree::parse_node(&self.blocks[at], &self.geo).unwrap();
            }
            let block = &self.blocks[at];
            htree::check_node(block, &self.geo, &node, self.seed, blocks).unwrap();
            let i = node.search(block, hash).unwrap();
            frames.push((at, node, i));
            at = node.entry(block, i).unwrap().1.get() as usize;
        }
        (frames, at)
    }

    fn add(&mut self, name: &[u8], ino: Ino, ftype: u8) -> Added {
        let entry = dirent::NewEntry { name, ino, ftype };
        if !self.indexed {
            if dirent::insert(&mut self.blocks[0], &self.geo, &entry)
                .unwrap()
                .is_some()
            {
                self.seal_leaf(0);
                return Added::Yes;
            }
            // The root, one leaf, and the other one of its split.
            if self.max_blocks < 3 {
                return Added::NoBlocks;
            }
            let leaf = self.append();
            let (head, tail) = self.blocks.split_at_mut(1);
            let version = HashVersion::from_disk(self.geo.def_hash_version).unwrap();
            let root = htree_edit::make_indexed(
                &mut head[0],
                &mut tail[0],
                &self.geo,
                version,
                Lblk::new(leaf as u32),
            )
            .unwrap();
            self.seal_node(0, &root.node);
            self.seal_leaf(leaf);
            self.indexed = true;
        }
        let hash = self.hasher().hash(name).major;
        loop {
            let (mut frames, leaf) = self.probe(hash);
            if dirent::insert(&mut self.blocks[leaf], &self.geo, &entry)
                .unwrap()
                .is_some()
            {
                self.seal_leaf(leaf);
                return Added::Yes;
            }
            let full = frames.iter().rev().take_while(|f| f.1.is_full()).count();
            if self.blocks.len() + full + 1 > self.max_blocks {
                return Added::NoBlocks;
            }
            if full > 0 {
                self.grow(&mut frames);
                continue;
            }
            self.split(frames, leaf);
        }
    }

    /// Makes room in a full index node.
    fn grow(&mut self, frames: &mut Frames) {
        let new = self.append();
        let (old, rest) = self.blocks.split_at_mut(new);
        if frames.len() == 1 {
            let mut root = htree::parse_root(&old[0], &self.geo).unwrap();
            let (block, at) = (&mut rest[0], Lblk::new(new as u32));
            let node = htree_edit::grow_root(&mut old[0], &mut root, block, at, &self.geo).unwrap();
            self.seal_node(0, &root.node);
            self.seal_node(new, &node);
            return;
        }
        let (at, mut node, _) = frames.pop().unwrap();
        let (new_node, hash) =
            htree_edit::split_node(&mut old[at], &mut node, &mut rest[0], &self.geo).unwrap();
        let (up, mut parent, i) = frames.pop().unwrap();
        htree_edit::insert(&mut old[up], &mut parent, i, dx(hash, new as u32))
            .expect("the test does not make roots that full");
        self.seal_node(at, &node);
        self.seal_node(new, &new_node);
        self.seal_node(up, &parent);
    }

    /// Splits a full leaf below a node with room.
    fn split(&mut self, mut frames: Frames, leaf: usize) {
        let hasher = self.hasher();
        let before = self.names_in(&[leaf]);
        let new = self.append();
        let mut scratch = vec![HashedEntry::default(); MAX_LEAF_ENTRIES];
        let (old, rest) = self.blocks.split_at_mut(new);
        let split = htree_edit::split_leaf(
            &mut old[leaf],
            &mut rest[0],
            &self.geo,
            &hasher,
            &mut scratch,
        )
        .unwrap();
        let (at, mut node, i) = frames.pop().unwrap();
        htree_edit::insert(&mut old[at], &mut node, i, dx(split.hash, new as u32)).unwrap();
        self.seal_node(at, &node);
        self.seal_leaf(leaf);
        self.seal_leaf(new);
        // Nothing is lost, nothing is on the wrong side, both sides have room.
        assert_eq!(before, self.names_in(&[leaf, new]));
        for (n, in_new) in [(leaf, false), (new, true)] {
            let mut used = 0;
            for e in dirent::entries_from(&self.blocks[n], &self.geo, 0) {
                let e = e.unwrap();
                let major = hasher.hash(e.name).major;
                let same_hash = split.hash & 1 == 1 && major == split.hash & !1;
                assert!(same_hash || split.is_in_new(major) == in_new);
                used += dirent::needed(e.name.len());
            }
            let half = self.geo.block_size as usize / 2;
            assert!(used <= half + 264 / 2, "{used} bytes of {half} in use");
        }
    }

    fn names_in(&self, blocks: &[usize]) -> BTreeMap<Vec<u8>, (Ino, u8)> {
        let mut out = BTreeMap::new();
        for &n in blocks {
            for e in dirent::entries_from(&self.blocks[n], &self.geo, 0) {
                let e = e.unwrap();
                if !e.is_dot() {
                    let old = out.insert(e.name.to_vec(), (e.ino.unwrap(), e.ftype));
                    assert!(old.is_none(), "twice: {:?}", e.name);
                }
            }
        }
        out
    }

    /// Finds a name: block, and where in it.
    fn find(&self, name: &[u8]) -> Option<(usize, dirent::EntryPlace)> {
        let look = |n: usize| -> Option<(usize, dirent::EntryPlace)> {
            dirent::check_block(&self.blocks[n], &self.geo, self.seed).unwrap();
            let found = dirent::search_block(&self.blocks[n], &self.geo, name).unwrap();
            found.map(|(place, _)| (n, place))
        };
        if !self.indexed {
            return look(0);
        }
        let hash = self.hasher().hash(name).major;
        let (mut frames, leaf) = self.probe(hash);
        if let Some(found) = look(leaf) {
            return Some(found);
        }
        // The hash may go on in the next leaf; only within the last node, which is enough here.
        loop {
            let (at, node, i) = frames.last_mut().unwrap();
            *i += 1;
            if *i >= node.count {
                return None;
            }
            let from = node.entry(&self.blocks[*at], *i).unwrap().0;
            if from & 1 == 0 || from & !1 != hash & !1 {
                return None;
            }
            let next = node.entry(&self.blocks[*at], *i).unwrap().1.get() as usize;
            if let Some(found) = look(next) {
                return Some(found);
            }
        }
    }

    fn remove(&mut self, name: &[u8]) -> bool {
        let Some((n, place)) = self.find(name) else {
            return false;
        };
        dirent::delete_entry(&mut self.blocks[n], &self.geo, place).unwrap();
        self.seal_leaf(n);
        true
    }

    /// All names, by the index where there is one.
    fn names(&self) -> BTreeMap<Vec<u8>, (Ino, u8)> {
        if !self.indexed {
            return self.names_in(&[0]);
        }
        let root = htree::parse_root(&self.blocks[0], &self.geo).unwrap();
        let mut nodes = vec![(0, root.node)];
        if root.indirect_levels == 1 {
            nodes = (0..root.node.count)
                .map(|i| root.node.entry(&self.blocks[0], i).unwrap().1.get() as usize)
                .map(|n| (n, htree::parse_node(&self.blocks[n], &self.geo).unwrap()))
                .collect();
        }
        let leaves: Vec<usize> = nodes
            .iter()
            .flat_map(|(n, node)| {
                (0..node.count).map(|i| node.entry(&self.blocks[*n], i).unwrap().1.get() as usize)
            })
            .collect();
        assert_eq!(
            leaves.len() + usize::from(root.indirect_levels) * nodes.len() + 1,
            self.blocks.len(),
            "a block is lost or used twice"
        );
        for &leaf in &leaves {
            dirent::check_block(&self.blocks[leaf], &self.geo, self.seed).unwrap();
        }
        self.names_in(&leaves)
    }
}

#[derive(Clone, Debug)]
enum Op {
    Add(Vec<u8>, Ino, u8),
    Remove(usize),
    Point(usize, Ino),
}

fn name_strategy() -> impl Strategy<Value = Vec<u8>> {
    let byte = any::<u8>().prop_filter("not in names", |b| *b != 0 && *b != b'/');
    let len = prop_oneof![4 => 1usize..16, 1 => 1usize..256, 1 => Just(255)];
    len.prop_flat_map(move |n| proptest::collection::vec(byte.clone(), n))
        .prop_filter("dots", |n| n != b"." && n != b"..")
}

fn ops(n: usize) -> impl Strategy<Value = Vec<Op>> {
    let ino = || (11u32..8192).prop_map(Ino::new);
    let op = prop_oneof![
        6 => (name_strategy(), ino(), 0u8..8).prop_map(|(n, i, t)| Op::Add(n, i, t)),
        3 => any::<usize>().prop_map(Op::Remove),
        1 => (any::<usize>(), ino()).prop_map(|(n, i)| Op::Point(n, i)),
    ];
    proptest::collection::vec(op, 1..n)
}

fn run_model(geo: &Geometry, ops: Vec<Op>, max_blocks: usize) -> Result<(), TestCaseError> {
    let mut dir = Dir::new(geo, 77, Ino::new(100), max_blocks);
    let mut model: BTreeMap<Vec<u8>, (Ino, u8)> = BTreeMap::new();
    for op in ops {
        match op {
            Op::Add(name, ino, ft) => {
                if model.contains_key(&name) {
                    prop_assert!(dir.find(&name).is_some());
                    continue;
                }
                prop_assert_eq!(dir.find(&name), None);
                if dir.add(&name, ino, ft) == Added::Yes {
                    model.insert(name, (ino, ft));
                } else {
                    prop_assert!(dir.blocks.len() + 3 > max_blocks);
                }
            }
            Op::Remove(n) => {
                if let Some(name) = model.keys().nth(n % model.len().max(1)).cloned() {
                    prop_assert!(dir.remove(&name));
                    model.remove(&name);
                    prop_assert_eq!(dir.find(&name), None);
                }
            }
            Op::Point(n, ino) => {
                if let Some(name) = model.keys().nth(n % model.len().max(1)).cloned() {
                    let (block, place) = dir.find(&name).unwrap();
                    dirent::set_inode(&mut dir.blocks[block], geo, place, ino, 3).unwrap();
                    dir.seal_leaf(block);
                    model.insert(name, (ino, 3));
                }
            }
        }
        prop_assert_eq!(
            dirent::dots(&dir.blocks[0], geo),
            Ok(dirent::Dots {
                ino: Ino::new(100),
                parent: Ino::ROOT,
                parent_offset: 12
            })
        );
    }
    prop_assert_eq!(dir.names(), model.clone());
    let empty = (0..dir.blocks.len())
        .filter(|&n| !dir.indexed || n > 0)
        .all(|n| dirent::is_empty(&dir.blocks[n], geo).unwrap_or(true));
    if !dir.indexed {
        prop_assert_eq!(empty, model.is_empty());
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn directories_follow_a_model(
        ops in ops(400),
        size in prop_oneof![Just(1024u32), Just(2048), Just(4096)],
        csum: bool,
    ) {
        run_model(&geometry(size, csum), ops, 64)?;
    }

    /// One block only: the linear code alone, until it is full.
    #[test]
    fn single_blocks_follow_a_model(ops in ops(200), csum: bool) {
        run_model(&geometry(1024, csum), ops, 1)?;
    }

    /// A function that gives everything the same few hashes: collisions go on over leaves.
    #[test]
    fn colliding_hashes_stay_findable(n in 100usize..400, step in 1usize..5) {
        let geo = geometry(1024, true);
        let hasher = Hasher::new(&geo, HashVersion::Legacy);
        // Names of a kind that the legacy hash maps to few values.
        let mut groups: BTreeMap<u32, Vec<Vec<u8>>> = BTreeMap::new();
        for i in 0..n * 50 {
            let name = format!("{:04}", i * step).into_bytes();
            groups.entry(hasher.hash(&name).major >> 20).or_default().push(name);
        }
        let names: Vec<_> = groups.into_values().flatten().take(n).collect();
        let ops = names.into_iter().map(|name| Op::Add(name, Ino::new(12), 1)).collect();
        run_model(&geo, ops, 64)?;
    }
}

/// Real collisions: split in the middle of names with one hash, all of them stay findable.
#[test]
fn a_hash_may_go_on_in_the_next_leaf() {
    let mut geo = geometry(1024, true);
    geo.def_hash_version = 0;
    let hasher = Hasher::new(&geo, HashVersion::Legacy);
    // The legacy hash of three bytes is linear enough to collide often.
    let mut by_hash: BTreeMap<u32, Vec<Vec<u8>>> = BTreeMap::new();
    let letters: Vec<u8> = (1..=255).filter(|b| *b != b'/' && *b != b'.').collect();
    for &a in &letters {
        for &b in letters.iter().step_by(3) {
            for &c in letters.iter().step_by(7) {
                let name = vec![a, b, c, b'x'];
                by_hash
                    .entry(hasher.hash(&name).major)
                    .or_default()
                    .push(name);
            }
        }
    }
    let mut groups: Vec<_> = by_hash.into_values().filter(|g| g.len() > 1).collect();
    groups.sort_by_key(|g| std::cmp::Reverse(g.len()));
    assert!(!groups.is_empty(), "no collision found");
    let names: Vec<_> = groups.into_iter().take(2000).flatten().take(4000).collect();
    let mut dir = Dir::new(&geo, 5, Ino::new(100), 1000);
    for name in &names {
        assert_eq!(dir.add(name, Ino::new(12), 1), Added::Yes);
    }
    for name in &names {
        // A name of a collision over the border of two nodes is not looked for by this `find`.
        assert!(dir.find(name).is_some(), "{name:?}");
    }
    assert_eq!(dir.names().len(), names.len());
}

/// Fills a directory of a real image by this code, hard links of one file, until its blocks are
/// used up: e2fsck must find nothing, debugfs must list every name.
fn fill_real_directory(block_size: &str, opts: &[&str], files: usize, levels: u8) {
    let mut args = vec!["-b", block_size];
    args.extend_from_slice(opts);
    let mut image = Image::make(&args, "24M", |src| {
        std::fs::create_dir(src.join("d")).unwrap();
        std::fs::write(src.join("f"), b"x").unwrap();
        for i in 0..files {
            std::fs::hard_link(src.join("f"), src.join(format!("d/{i:08}"))).unwrap();
        }
    });
    let geo = image.geo.clone();
    let (ino, file) = (image.lookup("d"), image.lookup("f"));
    let mut inode = image.inode(ino);
    let map = image.block_map(ino, &inode);
    let seed = inode.csum_seed(&geo, ino);
    let mut dir = Dir::new(&geo, seed, ino, map.len());
    let ft = dirent::ftype_for_mode(inode::S_IFREG, &geo);
    let mut count = 0;
    while dir.blocks.len() < map.len() {
        let name = format!("name-{count}-{}", "é".repeat(count % 17));
        if dir.add(name.as_bytes(), file, ft) == Added::NoBlocks {
            // The last split needs an index node too; its blocks are not there.
            break;
        }
        count += 1;
    }
    let root = htree::parse_root(&dir.blocks[0], &geo).unwrap();
    assert_eq!(root.indirect_levels, levels);
    // Blocks that were not needed: the directory becomes shorter, e2fsck would complain about
    // blocks behind its size, so all must be in use.
    assert_eq!(dir.blocks.len(), map.len());
    let names = dir.names();
    assert_eq!(names.len(), count);
    for (block, pblk) in dir.blocks.iter().zip(map.values()) {
        image.block_mut(*pblk).copy_from_slice(block);
    }
    inode.flags |= inode::flags::INDEX;
    image.put_inode(ino, &inode);
    let mut target = image.inode(file);
    target.links = count as u16 + 1;
    image.put_inode(file, &target);
    image.save();
    image.assert_clean();
    let listed = image.read_dir(ino);
    assert_eq!(listed.len(), count);
    let ls = image.debugfs(&["ls -p d".into()]).remove(0);
    for (name, ..) in &listed {
        let needle = format!("/{}/", String::from_utf8_lossy(name));
        assert!(ls.contains(&needle), "{needle}");
    }
}

#[test]
fn e2fsck_accepts_an_index_of_one_level() {
    fill_real_directory("4096", &[], 2000, 0);
    fill_real_directory("2048", &["-O", "^metadata_csum"], 2000, 0);
}

#[test]
fn e2fsck_accepts_an_index_of_two_levels() {
    fill_real_directory("1024", &[], 9000, 1);
    fill_real_directory("1024", &["-O", "^metadata_csum"], 9000, 1);
}
