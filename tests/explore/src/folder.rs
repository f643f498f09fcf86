// SPDX-License-Identifier: GPL-2.0
//! Programs about names: the two directories, what is done in them, and what is there at the end.

use crate::names::{DOT, DOT_DOT, FILLER, UNKNOWN};
use crate::op::{Op, Verb, EACH, FOLDERS, NAMES};
use crate::program::{Image, Program, Start};
use crate::things::{layout, End, Found, Sort, LARGE};
use crate::worker::folder;
use guest::dirents::read_all;
use guest::fixture::names;
use guest::sys::{self, Fd, Sys};
use guest::xattr;

/// The path of one of the directories.
fn path(run: u64, number: usize) -> String {
    format!("{}/{run}{}", folder(), FOLDERS[number])
}

/// Long enough that a directory of names that fill it has no place for it.
fn name(number: usize) -> String {
    NAMES[number].to_string().repeat(100)
}

/// In a directory entry, before the name.
const HEAD: u64 = 8;
/// Of a directory's first block: both dots, and the checksum.
const OTHERS: u64 = 24 + 12;
/// Names that fill blocks: most are so long.
const LONG: u64 = 240;

/// The names that fill m, and stay.
fn fillers(program: &Program) -> Vec<String> {
    let room = program.image.block - OTHERS;
    let (each, rest) = (room / (HEAD + LONG), room % (HEAD + LONG));
    // What is left of the block is one name, too.
    let mut lengths = vec![LONG; each as usize];
    lengths.push(rest - HEAD);
    match program.start {
        Start::Index if !program.image.tight => lengths = vec![LONG; 3 * each as usize],
        Start::Index | Start::Crowd => (),
        _ => lengths.clear(),
    }
    let text = |(i, len): (usize, u64)| format!("{i:0>len$}", len = len as usize);
    lengths.into_iter().enumerate().map(text).collect()
}

/// What a reader has room for: some names, if they are long.
fn room(image: Image) -> usize {
    (image.block / 1024 * 300) as usize
}

/// Nobody needs a permission for it, whatever it belongs to, but root.
const ATTRIBUTE: &str = "trusted.a";

/// What is set: so much that it has a block for itself, or so little that it needs none.
fn value(block: u64, byte: u8) -> Vec<u8> {
    match byte {
        LARGE => vec![byte; block as usize - 128],
        _ => vec![byte; 20],
    }
}

/// The attribute at this path as one byte; one that nobody has set so is none of them.
fn attribute(path: &str, block: u64) -> Sys<u8> {
    let seen = xattr::get(path, ATTRIBUTE)?;
    let byte = *seen.first().unwrap_or(&UNKNOWN);
    Ok(match seen == value(block, byte) {
        true => byte,
        false => UNKNOWN,
    })
}

/// What is there before: the inodes of the things with these numbers.
pub fn create(run: u64, program: &Program) -> Sys<[u64; NAMES.len()]> {
    for number in 0..FOLDERS.len() {
        sys::mkdir(&path(run, number), 0o755)?;
    }
    let m = path(run, 0);
    let mut all = fillers(program)
        .into_iter()
        .map(|text| format!("{m}/{text}"));
    // One inode is enough for all.
    if let Some(first) = all.next() {
        sys::create(&first)?;
        all.try_for_each(|path| sys::link(&first, &path))?;
    }
    let mut inodes = [0; NAMES.len()];
    for (number, thing) in layout(program.start).into_iter().enumerate() {
        let Some(thing) = thing else {
            continue;
        };
        let path = place(run, number);
        let known = usize::from(thing.number);
        match thing.sort {
            Sort::File if known != number => sys::link(&place(run, known), &path)?,
            Sort::File => sys::create(&path).map(drop)?,
            Sort::Folder => sys::mkdir(&path, 0o755)?,
            // Only a rename leaves one.
            Sort::Whiteout => (),
            Sort::Full => {
                sys::mkdir(&path, 0o755)?;
                sys::create(&format!("{path}/inside"))?;
            }
        }
        inodes[known] = sys::lstat(&path)?.st_ino;
    }
    if program.start != Start::Bare {
        sys::rdonly(&path(run, 0))?.fsync()?;
    }
    // What nobody uses goes, so that names are looked up on disk.
    if matches!(program.start, Start::Files | Start::Tree | Start::Index) {
        sys::write_file("/proc/sys/vm/drop_caches", "2\n")?;
    }
    Ok(inodes)
}

fn place(run: u64, number: usize) -> String {
    format!("{}/{}", path(run, number / EACH), name(number))
}

/// The directories, open, as a thread under test has them.
pub struct Here {
    folders: Vec<Fd>,
    fillers: Vec<String>,
    room: usize,
    block: u64,
}

impl Here {
    pub fn open(run: u64, program: &Program) -> Sys<Here> {
        let open = |number| sys::rdonly(&path(run, number));
        Ok(Here {
            folders: (0..FOLDERS.len()).map(open).collect::<Sys<_>>()?,
            fillers: fillers(program),
            room: room(program.image),
            block: program.image.block,
        })
    }

    /// By the open directory, so that nothing else is looked up.
    fn place(&self, number: usize) -> String {
        let folder = &self.folders[number / EACH];
        format!("/proc/self/fd/{}/{}", folder.raw, name(number))
    }

    /// Does it, with the letter `mark`. What it has opened for good goes to `held`.
    pub fn call(&self, op: &Op, mark: u8, held: &mut Vec<Fd>) -> Sys<(u64, Vec<u8>)> {
        let folder = || &self.folders[usize::from(op.file)];
        let here = || self.place(usize::from(op.file));
        let done = |(): ()| (0, Vec::new());
        let inode = |f: Fd| f.stat().map(|st| (st.st_ino, Vec::new()));
        let flags = match op.verb {
            Verb::NoReplace => sys::NOREPLACE,
            Verb::Exchange => sys::EXCHANGE,
            Verb::Whiteout => sys::WHITEOUT,
            _ => 0,
        };
        match op.verb {
            Verb::Create => {
                let flags = libc::O_RDWR | libc::O_CREAT | libc::O_EXCL;
                inode(sys::open(&here(), flags, 0o644)?)
            }
            // Which inode it is only who looks it up can tell.
            Verb::MakeFolder => sys::mkdir(&here(), 0o755).map(done),
            Verb::Link => sys::link(&here(), &self.place(op.at as usize)).map(done),
            Verb::Rename | Verb::NoReplace | Verb::Exchange | Verb::Whiteout => {
                sys::rename2(&here(), &self.place(op.at as usize), flags).map(done)
            }
            Verb::Unlink => sys::unlink(&here()).map(done),
            Verb::RemoveFolder => sys::rmdir(&here()).map(done),
            Verb::LookUp => sys::lstat(&here()).map(|st| (st.st_ino, Vec::new())),
            Verb::SetSmall => xattr::set(&here(), ATTRIBUTE, &value(self.block, mark), 0).map(done),
            Verb::SetLarge => {
                xattr::set(&here(), ATTRIBUTE, &value(self.block, LARGE), 0).map(done)
            }
            Verb::ReadAttribute => Ok((attribute(&here(), self.block)?.into(), Vec::new())),
            Verb::RemoveAttribute => xattr::remove(&here(), ATTRIBUTE).map(done),
            Verb::Hold => {
                let f = sys::open(&here(), libc::O_RDONLY | libc::O_NOFOLLOW, 0)?;
                let st = f.stat()?;
                held.push(f);
                Ok((st.st_ino, Vec::new()))
            }
            Verb::List => {
                let again = sys::rdonly(&format!("/proc/self/fd/{}", folder().raw))?;
                let all = read_all(&again, self.room)?;
                Ok((
                    0,
                    all.iter().map(|e| self.known(&e.name, op.file)).collect(),
                ))
            }
            _ => folder().fsync().map(done),
        }
    }

    /// A name as one byte.
    fn known(&self, text: &str, folder: u8) -> u8 {
        let here = usize::from(folder) * EACH;
        let own = (here..here + EACH).find(|number| name(*number) == text);
        let filler = || self.fillers.iter().position(|f| folder == 0 && f == text);
        match text {
            "." => DOT,
            ".." => DOT_DOT,
            _ => match own.or_else(|| filler().map(|i| i + usize::from(FILLER))) {
                Some(number) => number as u8,
                None => UNKNOWN,
            },
        }
    }
}

/// What is there when nothing moves any more; the names are listed and looked up.
pub fn look(run: u64, program: &Program) -> Result<End, String> {
    let text = |e: sys::SysErr| e.to_string();
    let mut end = End {
        found: [None; NAMES.len()],
        links: [0; FOLDERS.len()],
    };
    for (number, found) in end.found.iter_mut().enumerate() {
        let st = match sys::lstat(&place(run, number)) {
            Err(e) if e.errno == libc::ENOENT => continue,
            other => other.map_err(text)?,
        };
        *found = Some(Found {
            ino: st.st_ino,
            sort: match st.st_mode & libc::S_IFMT {
                libc::S_IFDIR => Sort::Folder,
                libc::S_IFCHR => Sort::Whiteout,
                _ => Sort::File,
            },
            links: st.st_nlink,
            attribute: match attribute(&place(run, number), program.image.block) {
                Err(e) if e.errno == libc::ENODATA => 0,
                other => other.map_err(text)?,
            },
        });
    }
    for (number, links) in end.links.iter_mut().enumerate() {
        *links = sys::lstat(&path(run, number)).map_err(text)?.st_nlink;
        let here = number * EACH..(number + 1) * EACH;
        let mut expected: Vec<String> =
            here.filter(|n| end.found[*n].is_some()).map(name).collect();
        if number == 0 {
            expected.extend(fillers(program));
        }
        let listed = names(&path(run, number)).map_err(|e| e.to_string())?;
        same(listed, expected).map_err(|e| format!("{} {e}", FOLDERS[number]))?;
    }
    Ok(end)
}

/// Each of them is listed once, and no other.
fn same(mut listed: Vec<String>, mut expected: Vec<String>) -> Result<(), String> {
    listed.sort();
    expected.sort();
    if listed == expected {
        return Ok(());
    }
    let counts = (listed.len(), expected.len());
    let twice = listed.windows(2).find(|pair| pair[0] == pair[1]);
    let strange = listed.iter().find(|name| !expected.contains(name));
    let missing = expected.iter().find(|name| !listed.contains(name));
    let first = |name: &String| name.chars().take(4).collect::<String>();
    let told = match (twice, strange, missing) {
        (Some(pair), ..) => format!("{}... twice", first(&pair[0])),
        (_, Some(name), _) => format!("{}..., which is not there", first(name)),
        (.., name) => format!("no {}...", name.map_or(String::new(), first)),
    };
    let (listed, expected) = counts;
    Err(format!(
        "lists {told}: {listed} names, {expected} are looked up"
    ))
}

/// How many names stay.
pub fn count(program: &Program) -> usize {
    fillers(program).len()
}

/// What a program about names leaves goes.
pub fn remove(path: &str) -> Sys<()> {
    let st = sys::lstat(path)?;
    if st.st_mode & libc::S_IFMT != libc::S_IFDIR {
        return sys::unlink(path);
    }
    let failed = |what: String| sys::SysErr { what, errno: 0 };
    for name in names(path).map_err(|e| failed(e.to_string()))? {
        remove(&format!("{path}/{name}"))?;
    }
    sys::rmdir(path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn a_list_has_each_name_once() {
        let says = |listed: &[&str]| {
            let texts = |all: &[&str]| all.iter().map(|n| n.to_string()).collect();
            same(texts(listed), texts(&["x", "y"]))
        };
        assert_eq!(says(&["y", "x"]), Ok(()));
        assert!(says(&["x"]).is_err() && says(&["x", "y", "z"]).is_err());
        // As many as there should be.
        assert!(says(&["x", "x"]).is_err_and(|e| e.contains("twice")));
        assert!(says(&["x", "z"]).is_err());
    }

    #[test]
    fn a_full_block_is_full() {
        for image in crate::draw::IMAGES {
            let text = format!("{}k,crowd:ls.m", image.block / 1024);
            let all = fillers(&text.parse().unwrap());
            let used: u64 = all
                .iter()
                .map(|n| HEAD + (n.len() as u64).next_multiple_of(4))
                .sum();
            assert_eq!(used, image.block - OTHERS);
            assert!(all.iter().all(|n| (1..=255).contains(&n.len())));
            let unique: BTreeSet<&String> = all.iter().collect();
            assert_eq!(unique.len(), all.len());
            assert!(all.len() + usize::from(FILLER) < usize::from(DOT));
        }
    }
}
