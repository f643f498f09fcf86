// SPDX-License-Identifier: GPL-2.0

//! Images made by mke2fs, read through the code under test.

use rext4_unit::disk::*;
use rext4_unit::short::expected;
use rext4_unit::{decode_whole, encode_whole};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use zerocopy::FromBytes;

/// A directory of its own, removed at the end.
pub struct TempDir(PathBuf);

impl TempDir {
    pub fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let path = std::env::temp_dir().join(format!(
            "rext4-unit-{}-{}",
            std::process::id(),
            NEXT.fetch_add(1, Ordering::Relaxed)
        ));
        fs::create_dir_all(&path).expect("create a temporary directory");
        TempDir(path)
    }

    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for TempDir {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// The defaults of mke2fs, so that a test does not depend on those of the machine.
const MKE2FS_CONF: &str = "[defaults]
base_features = sparse_super,large_file,filetype,resize_inode,dir_index,ext_attr
default_mntopts = acl,user_xattr
blocksize = 4096
inode_size = 256
inode_ratio = 4096
[fs_types]
ext4 = {
features = has_journal,extent,huge_file,flex_bg,metadata_csum,64bit,dir_nlink,extra_isize
}
";

/// Runs a program of e2fsprogs; the exit status must be one of `ok`.
pub fn run(program: &str, args: &[&str], ok: &[i32]) -> String {
    run_env(program, args, ok, None)
}

fn run_env(program: &str, args: &[&str], ok: &[i32], conf: Option<&Path>) -> String {
    let path = format!(
        "{}:/usr/sbin:/sbin",
        std::env::var("PATH").unwrap_or_default()
    );
    let mut command = Command::new(program);
    if let Some(conf) = conf {
        command.env("MKE2FS_CONFIG", conf);
    }
    let out = command
        .args(args)
        .env("PATH", path)
        .env("TZ", "UTC")
        .stdin(Stdio::null())
        .output()
        .unwrap_or_else(|e| panic!("cannot run {program} (package e2fsprogs): {e}"));
    let text = String::from_utf8_lossy(&out.stdout).into_owned();
    assert!(
        out.status.code().is_some_and(|c| ok.contains(&c)),
        "{program} {args:?}: {}\n{text}{}",
        out.status,
        String::from_utf8_lossy(&out.stderr)
    );
    text
}

pub struct Image {
    dir: TempDir,
    pub data: Vec<u8>,
    pub geo: Geometry,
}

impl Image {
    /// Makes an image of `size` with `mke2fs -t ext4 OPTS`, filled from what `fill` puts into a
    /// directory.
    pub fn make(opts: &[&str], size: &str, fill: impl FnOnce(&Path)) -> Self {
        let dir = TempDir::new();
        let src = dir.path().join("src");
        fs::create_dir(&src).unwrap();
        fill(&src);
        let img = dir.path().join("img");
        let mut args = vec!["-q", "-F", "-t", "ext4"];
        args.extend_from_slice(opts);
        args.extend(["-d", src.to_str().unwrap(), img.to_str().unwrap(), size]);
        let conf = dir.path().join("mke2fs.conf");
        fs::write(&conf, MKE2FS_CONF).unwrap();
        // The option "-T default" stands for what the machine's own configuration says.
        let conf = (!opts.contains(&"default")).then_some(conf);
        run_env("mke2fs", &args, &[0], conf.as_deref());
        let mut image = Image {
            dir,
            data: Vec::new(),
            geo: dummy_geometry(),
        };
        image.reload();
        image
    }

    pub fn path(&self) -> PathBuf {
        self.dir.path().join("img")
    }

    pub fn source(&self) -> PathBuf {
        self.dir.path().join("src")
    }

    /// Reads the image again after another program changed it.
    pub fn reload(&mut self) {
        self.data = fs::read(self.path()).unwrap();
        let raw = RawSuper::read_from_bytes(&self.data[1024..2048]).unwrap();
        self.geo = Geometry::parse(&raw, self.data.len() as u64).unwrap();
    }

    /// Writes what the test changed.
    pub fn save(&self) {
        fs::write(self.path(), &self.data).unwrap();
    }

    pub fn raw_super(&self) -> RawSuper {
        RawSuper::read_from_bytes(&self.data[1024..2048]).unwrap()
    }

    pub fn dumpe2fs(&self) -> String {
        run("dumpe2fs", &[self.path().to_str().unwrap()], &[0])
    }

    /// Runs debugfs requests in one process and returns the output of each.
    pub fn debugfs(&self, requests: &[String]) -> Vec<String> {
        let file = self.dir.path().join("requests");
        fs::write(&file, requests.join("\n") + "\n").unwrap();
        let image = self.path();
        let args = ["-f", file.to_str().unwrap(), image.to_str().unwrap()];
        let out = run("debugfs", &args, &[0]);
        let mut answers: Vec<String> = Vec::new();
        for line in out.lines() {
            match requests.get(answers.len()) {
                Some(r) if line == format!("debugfs: {r}") => answers.push(String::new()),
                _ => {
                    let last = answers.last_mut().expect("output before the first request");
                    last.push_str(line);
                    last.push('\n');
                }
            }
        }
        assert_eq!(answers.len(), requests.len(), "debugfs said:\n{out}");
        answers
    }

    /// Runs one debugfs request that changes the image.
    pub fn debugfs_write(&mut self, request: &str) {
        let path = self.path();
        run(
            "debugfs",
            &["-w", "-R", request, path.to_str().unwrap()],
            &[0],
        );
        self.reload();
    }

    /// `e2fsck -fn` finds nothing.
    pub fn assert_clean(&self) {
        run("e2fsck", &["-fn", self.path().to_str().unwrap()], &[0]);
    }

    /// `e2fsck -fyD`: rebuilds and indexes directories.
    pub fn optimize_dirs(&mut self) {
        run("e2fsck", &["-fyD", self.path().to_str().unwrap()], &[0, 1]);
        self.reload();
    }

    pub fn block(&self, n: impl Into<u64>) -> &[u8] {
        let bs = self.geo.block_size as usize;
        &self.data[n.into() as usize * bs..][..bs]
    }

    pub fn block_mut(&mut self, n: impl Into<u64>) -> &mut [u8] {
        let bs = self.geo.block_size as usize;
        &mut self.data[n.into() as usize * bs..][..bs]
    }

    pub fn desc_bytes(&self, group: u32) -> &[u8] {
        let (block, off) = self.geo.desc_location(group);
        &self.block(block)[off as usize..][..usize::from(self.geo.desc_size)]
    }

    pub fn desc(&self, group: u32) -> GroupDesc {
        GroupDesc::decode_checked(self.desc_bytes(group), &self.geo, group).unwrap()
    }

    fn inode_at(&self, ino: Ino) -> usize {
        let (group, index) = self.geo.inode_group(ino).unwrap();
        let (block, off) = self.geo.inode_offset(index);
        let table = self.desc(group).inode_table;
        ((table + u64::from(block)) << self.geo.block_bits) as usize + off as usize
    }

    pub fn raw_inode(&self, ino: Ino) -> &[u8] {
        &self.data[self.inode_at(ino)..][..usize::from(self.geo.inode_size)]
    }

    pub fn inode(&self, ino: Ino) -> InodeFields {
        decode_whole(self.raw_inode(ino), &self.geo, ino)
            .unwrap_or_else(|e| panic!("inode {ino}: {e}"))
    }

    pub fn put_inode(&mut self, ino: Ino, inode: &InodeFields) {
        let at = self.inode_at(ino);
        let size = usize::from(self.geo.inode_size);
        let geo = self.geo.clone();
        encode_whole(inode, &mut self.data[at..][..size], &geo, ino).unwrap();
    }

    /// All extents of an inode, every node checked.
    pub fn extents(&self, ino: Ino, inode: &InodeFields) -> Vec<extent::Extent> {
        let mut out = Vec::new();
        let root = extent::check_root(&inode.block, &self.geo).unwrap();
        let seed = inode.csum_seed(&self.geo, ino);
        self.collect(&inode.block, root, Lblk::END, seed, &mut out);
        out
    }

    fn collect(
        &self,
        node: &[u8],
        h: extent::Header,
        end: Lblk,
        seed: u32,
        out: &mut Vec<extent::Extent>,
    ) {
        for i in 0..h.entries {
            if h.depth == 0 {
                out.push(extent::extent_at(node, i).unwrap());
                continue;
            }
            let index = extent::index_at(node, i).unwrap();
            let stop = if i + 1 < h.entries {
                extent::index_at(node, i + 1).unwrap().lblk
            } else {
                end
            };
            let child = self.block(index.pblk);
            let ch = extent::check_block(
                child,
                &self.geo,
                seed,
                expected(h.depth - 1, index.lblk, stop),
            )
            .unwrap_or_else(|e| panic!("extent node {}: {e}", index.pblk));
            self.collect(child, ch, stop, seed, out);
        }
    }

    /// The physical block of every mapped logical block.
    pub fn block_map(&self, ino: Ino, inode: &InodeFields) -> BTreeMap<u32, Pblk> {
        let mut map = BTreeMap::new();
        for e in self.extents(ino, inode) {
            for i in 0..e.len {
                map.insert(e.lblk.get() + i, e.pblk + u64::from(i));
            }
        }
        map
    }

    pub fn read_file(&self, ino: Ino, inode: &InodeFields) -> Vec<u8> {
        let bs = self.geo.block_size as usize;
        let mut out = vec![0; (inode.size as usize).div_ceil(bs) * bs];
        for (lblk, pblk) in self.block_map(ino, inode) {
            if let Some(to) = out.get_mut(lblk as usize * bs..(lblk as usize + 1) * bs) {
                to.copy_from_slice(self.block(pblk));
            }
        }
        out.truncate(inode.size as usize);
        out
    }

    /// The used entries of a directory without the dots, every block checked, indexed or not.
    pub fn read_dir(&self, ino: Ino) -> Vec<(Vec<u8>, Ino, u8)> {
        let inode = self.inode(ino);
        assert!(inode.is_dir());
        let seed = inode.csum_seed(&self.geo, ino);
        let map = self.block_map(ino, &inode);
        assert_eq!(
            map.len() as u64,
            inode.size >> self.geo.block_bits,
            "a directory has no holes"
        );
        let dots = dirent::dots(self.block(map[&0]), &self.geo).unwrap();
        assert_eq!(dots.ino, ino);
        let leaves: Vec<u32> = if inode.has_flags(inode::flags::INDEX) {
            self.leaves(&map, seed)
        } else {
            map.keys().copied().collect()
        };
        let mut out = Vec::new();
        for lblk in leaves {
            let block = self.block(map[&lblk]);
            dirent::check_block(block, &self.geo, seed)
                .unwrap_or_else(|e| panic!("directory {ino} block {lblk}: {e}"));
            for e in dirent::entries_from(block, &self.geo, 0) {
                let e = e.unwrap();
                if !e.is_dot() {
                    out.push((e.name.to_vec(), e.ino.unwrap(), e.ftype));
                }
            }
        }
        out
    }

    /// The leaves of an indexed directory in hash order, every node checked and every name found
    /// to lie where its hash says.
    fn leaves(&self, map: &BTreeMap<u32, Pblk>, seed: u32) -> Vec<u32> {
        let blocks = map.len() as u32;
        let root_block = self.block(map[&0]);
        let root = htree::parse_root(root_block, &self.geo).unwrap();
        htree::check_node(root_block, &self.geo, &root.node, seed, blocks).unwrap();
        let mut ranges = Vec::new();
        for i in 0..root.node.count {
            let (hash, lblk) = root.node.entry(root_block, i).unwrap();
            if root.indirect_levels == 0 {
                ranges.push((hash, lblk));
                continue;
            }
            let block = self.block(map[&lblk.get()]);
            let node = htree::parse_node(block, &self.geo).unwrap();
            htree::check_node(block, &self.geo, &node, seed, blocks).unwrap();
            for j in 0..node.count {
                let (h, l) = node.entry(block, j).unwrap();
                ranges.push((if j == 0 { hash } else { h }, l));
            }
        }
        let hasher = hash::Hasher::new(&self.geo, root.version);
        for (i, &(start, lblk)) in ranges.iter().enumerate() {
            let end = ranges.get(i + 1).map_or(u32::MAX, |r| r.0);
            for e in dirent::entries_from(self.block(map[&lblk.get()]), &self.geo, 0) {
                let major = hasher.hash(e.unwrap().name).major;
                assert!(major >= start & !1 && major <= end, "leaf {lblk}");
            }
        }
        ranges.into_iter().map(|r| r.1.get()).collect()
    }

    /// Looks up a path from the root.
    pub fn lookup(&self, path: &str) -> Ino {
        let names = path.split('/').filter(|p| !p.is_empty());
        names.fold(Ino::ROOT, |dir, p| {
            let entries = self.read_dir(dir);
            let found = entries.iter().find(|e| e.0 == p.as_bytes());
            found.unwrap_or_else(|| panic!("{p} in {path}")).1
        })
    }
}

/// A small valid geometry for tests without an image; `with` may change the raw superblock first.
pub fn geometry_with(block_size: u32, with: impl FnOnce(&mut RawSuper)) -> Geometry {
    let mut raw = RawSuper::read_from_bytes(&[0u8; 1024]).unwrap();
    let log = block_size.trailing_zeros() - 10;
    raw.magic.set(superblock::MAGIC);
    raw.rev_level.set(1);
    raw.log_block_size.set(log);
    raw.log_cluster_size.set(log);
    raw.first_data_block.set(u32::from(block_size == 1024));
    raw.blocks_per_group.set(8192);
    raw.clusters_per_group.set(8192);
    raw.blocks_count_lo
        .set(8192 * 4 + raw.first_data_block.get());
    raw.inodes_per_group.set(2048);
    raw.inodes_count.set(2048 * 4);
    raw.inode_size.set(256);
    raw.first_ino.set(11);
    raw.desc_size.set(64);
    raw.want_extra_isize.set(32);
    raw.min_extra_isize.set(32);
    raw.def_hash_version = 1;
    raw.checksum_type = 1;
    raw.uuid = *b"0123456789abcdef";
    raw.feature_compat.set(features::COMPAT_DIR_INDEX);
    raw.feature_incompat.set(
        features::INCOMPAT_FILETYPE
            | features::INCOMPAT_EXTENTS
            | features::INCOMPAT_64BIT
            | features::INCOMPAT_FLEX_BG,
    );
    raw.feature_ro_compat.set(
        features::RO_COMPAT_SPARSE_SUPER
            | features::RO_COMPAT_HUGE_FILE
            | features::RO_COMPAT_EXTRA_ISIZE
            | features::RO_COMPAT_METADATA_CSUM,
    );
    with(&mut raw);
    raw.update_checksum();
    Geometry::parse(&raw, 1 << 40).unwrap()
}

pub fn geometry(block_size: u32, csum: bool) -> Geometry {
    geometry_with(block_size, |raw| {
        raw.set_ro_compat(features::RO_COMPAT_METADATA_CSUM, csum);
    })
}

fn dummy_geometry() -> Geometry {
    geometry(1024, false)
}
