// SPDX-License-Identifier: GPL-2.0
//! What who stands at a point holds, and so which two points no two tasks can be at, at the same
//! time and for the same inode. It is told in words in Documentation/lab-points.md.

/// How a lock is held.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Hold {
    Not,
    Shared,
    Alone,
}

/// Which inode a point is about.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Whose {
    /// A file with bytes.
    File,
    /// A directory in which names come and go.
    Folder,
    /// What has the name, in a program about names: nobody looks at its bytes.
    Named,
    /// It has no name, and nobody uses it any more.
    Nobodys,
}

/// Direct I/O of the file.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Direct {
    /// Who stands here neither does it nor knows of it.
    Unknown,
    InFlight,
    /// None is in flight, and none can begin.
    Ended,
}

#[derive(Clone, Copy)]
struct Held {
    whose: Whose,
    /// i_rwsem.
    inode: Hold,
    /// invalidate_lock.
    pages: Hold,
    direct: Direct,
}

/// Folios may be locked besides, each by one task; a file has several.
const FREE: Held = Held {
    whose: Whose::File,
    inode: Hold::Not,
    pages: Hold::Not,
    direct: Direct::Unknown,
};
const SHARED: Held = Held {
    inode: Hold::Shared,
    ..FREE
};
const ALONE: Held = Held {
    inode: Hold::Alone,
    ..FREE
};
const SHUT: Held = Held {
    pages: Hold::Alone,
    ..ALONE
};
const DRAINED: Held = Held {
    direct: Direct::Ended,
    ..SHUT
};
const FAULT: Held = Held {
    pages: Hold::Shared,
    ..FREE
};
const IN_FLIGHT: Held = Held {
    direct: Direct::InFlight,
    ..FREE
};
const FOLDER: Held = Held {
    whose: Whose::Folder,
    ..FREE
};
const FOLDER_SHARED: Held = Held {
    whose: Whose::Folder,
    ..SHARED
};
const FOLDER_ALONE: Held = Held {
    whose: Whose::Folder,
    ..ALONE
};
const NAMED: Held = Held {
    whose: Whose::Named,
    ..ALONE
};
const GOING: Held = Held {
    whose: Whose::Nobodys,
    ..ALONE
};

/// The points, and what is held there: the least of it, where that differs. Without anything: it
/// takes a protection that is off to come there.
const HELD: &[(&str, &[Held])] = &[
    ("write-locked", &[ALONE]),
    ("write-map", &[ALONE, FAULT]),
    ("write-get-folio", &[ALONE]),
    ("write-check", &[ALONE]),
    ("write-checked", &[ALONE]),
    ("write-end", &[ALONE, FAULT]),
    ("write-unlocked", &[FREE]),
    ("read", &[FREE]),
    ("read-map", &[FREE]),
    ("read-mapped", &[FREE]),
    ("fault", &[FREE]),
    ("fault-locked", &[FAULT]),
    ("fault-done", &[FREE]),
    ("writeback-map", &[FREE]),
    ("writeback-usable", &[FREE]),
    ("writeback-lookup", &[FREE]),
    ("writeback-mapped", &[FREE]),
    ("writeback-added", &[FREE]),
    ("writeback-failed", &[FREE]),
    ("allocate", &[FREE]),
    ("no-space", &[FREE]),
    ("complete", &[FREE]),
    ("completed", &[FREE]),
    ("shut", &[SHUT]),
    ("drained", &[DRAINED]),
    (
        "pin-wait",
        &[Held {
            direct: Direct::Ended,
            ..ALONE
        }],
    ),
    ("edges-zeroed", &[DRAINED]),
    ("range-written", &[DRAINED]),
    ("punch-invalidated", &[DRAINED]),
    ("remove-some", &[DRAINED, GOING]),
    ("blocks-removed", &[DRAINED]),
    ("move-copied", &[DRAINED]),
    ("move-some", &[DRAINED]),
    ("moved", &[DRAINED]),
    ("shift-some", &[DRAINED]),
    ("truncate", &[ALONE]),
    ("truncate-sized", &[DRAINED]),
    ("orphaned", &[DRAINED]),
    ("unorphan", &[DRAINED]),
    ("tail-zeroed", &[DRAINED]),
    ("tail-written", &[DRAINED]),
    ("grown", &[DRAINED]),
    ("allocated", &[DRAINED]),
    ("allocate-more", &[DRAINED]),
    ("reserve-looked-up", &[]),
    ("dio-read-locked", &[SHARED]),
    ("dio-read-map", &[SHARED]),
    ("dio-read-flush", &[SHARED]),
    ("dio-read-mapped", &[SHARED]),
    ("dio-enter", &[FREE]),
    ("dio-locked", &[SHARED]),
    ("dio-alone", &[ALONE]),
    (
        "dio-drained",
        &[Held {
            direct: Direct::Ended,
            ..ALONE
        }],
    ),
    ("dio-again", &[FREE]),
    ("dio-map", &[SHARED, ALONE]),
    ("dio-mapped", &[SHARED, ALONE]),
    ("dio-submit", &[IN_FLIGHT]),
    ("dio-end-io", &[IN_FLIGHT]),
    // Below a closed gate without invalidate_lock.
    ("dio-grow", &[ALONE]),
    ("dio-end", &[IN_FLIGHT]),
    ("dio-fall-back", &[FREE]),
    ("dio-fell-back", &[FREE]),
    ("gate-yield", &[FREE]),
    ("gate-close", &[SHARED, ALONE]),
    ("gate-closed", &[SHARED, ALONE]),
    ("gate-wait", &[FREE]),
    ("gate-passed", &[FREE]),
    ("seek-mapped", &[SHARED]),
    ("seek-searched", &[SHARED]),
    ("fsync", &[FREE, FOLDER]),
    ("fsync-written", &[FREE, FOLDER]),
    ("commit-tid", &[FREE, FOLDER]),
    ("replace-written", &[NAMED]),
    ("folio-release", &[FREE]),
    ("evict", &[GOING]),
    ("evict-freed", &[GOING]),
    ("name-lookup", &[FOLDER_SHARED]),
    ("name-found", &[FOLDER_SHARED]),
    // No program has an O_TMPFILE, which holds nothing.
    ("name-change", &[FOLDER_ALONE]),
    ("name-written", &[FOLDER_ALONE]),
    ("name-changed", &[FOLDER_ALONE]),
    ("attribute-change", &[NAMED]),
    ("readdir", &[FOLDER_SHARED]),
];

fn held(point: &str) -> Option<&'static [Held]> {
    let row = HELD.iter().find(|row| row.0 == point);
    row.map(|row| row.1)
}

/// Is anything known of it?
pub fn is_known(point: &str) -> bool {
    held(point).is_some()
}

/// Why nobody comes to a point as long as all protections are on.
pub const OFF: &str = "a protection must be off";
const OTHER: &str = "they are about inodes of another kind";

/// Why two tasks that hold this cannot be there at the same time.
fn clash(a: &Held, b: &Held) -> Option<&'static str> {
    let excludes = |a: Hold, b: Hold| match (a, b) {
        (Hold::Alone, other) | (other, Hold::Alone) => other != Hold::Not,
        _ => false,
    };
    let both = [a.direct, b.direct];
    if a.whose != b.whose {
        Some(OTHER)
    } else if a.whose == Whose::Nobodys {
        Some("nobody else has the inode")
    } else if excludes(a.inode, b.inode) {
        Some("i_rwsem")
    } else if excludes(a.pages, b.pages) {
        Some("invalidate_lock")
    } else if both.contains(&Direct::InFlight) && both.contains(&Direct::Ended) {
        Some("direct I/O has ended")
    } else {
        None
    }
}

/// Why no two tasks can be at these points at the same time, for the same inode.
pub fn apart(a: &str, b: &str) -> Option<&'static str> {
    let (a, b) = (held(a)?, held(b)?);
    if a.is_empty() || b.is_empty() {
        return Some(OFF);
    }
    let all = a.iter().flat_map(|a| b.iter().map(|b| clash(a, b)));
    let all: Option<Vec<&str>> = all.collect();
    let all = all?;
    // That both are about one inode, and then meet a lock, says more.
    let said = all.iter().find(|why| **why != OTHER);
    said.or(all.first()).copied()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    const PAGE: &str = include_str!("../../../../Documentation/lab-points.md");

    /// Of each point what the page says is held.
    fn told() -> BTreeMap<&'static str, String> {
        let mut all: BTreeMap<&str, String> = BTreeMap::new();
        let mut before = String::new();
        for line in PAGE.lines().filter(|line| line.starts_with("| `")) {
            let cells: Vec<&str> = line.split('|').map(str::trim).collect();
            let mut words = cells[3].to_string();
            if words.contains("the same") || words.contains("besides") {
                words += &before;
            }
            let of = words.split('`').nth(1).and_then(|point| all.get(point));
            words += of.map_or("", String::as_str);
            before.clone_from(&words);
            all.insert(cells[1].trim_matches('`'), words);
        }
        all
    }

    #[test]
    fn the_page_says_the_same() {
        let told = told();
        let known: Vec<&str> = HELD.iter().map(|row| row.0).collect();
        for point in told.keys() {
            assert!(is_known(point), "{point} is not in HELD");
        }
        assert_eq!(told.len(), known.len());
        for (point, all) in HELD {
            let said = &told[point];
            let some = |what: &dyn Fn(&Held) -> bool| all.iter().any(what);
            let nobodys = some(&|h| h.whose == Whose::Nobodys);
            assert_eq!(nobodys, said.contains("nobody has the inode"), "{point}");
            if some(&|h| h.inode != Hold::Not && h.whose != Whose::Nobodys) {
                assert!(said.contains("i_rwsem"), "{point}: {said}");
            }
            if some(&|h| h.inode == Hold::Shared) {
                assert!(said.contains("shared"), "{point}: {said}");
            }
            if some(&|h| h.pages != Hold::Not) {
                assert!(said.contains("invalidate_lock"), "{point}: {said}");
            }
        }
    }

    #[test]
    fn reasons() {
        let same = |a, b, why| {
            assert_eq!(apart(a, b), why, "{a} {b}");
            assert_eq!(apart(b, a), why, "{b} {a}");
        };
        same("write-check", "write-check", Some("i_rwsem"));
        same("write-check", "seek-mapped", Some("i_rwsem"));
        same("seek-mapped", "seek-mapped", None);
        same("drained", "fault-locked", Some("invalidate_lock"));
        same("write-map", "fault-locked", None);
        same("drained", "write-map", Some("i_rwsem"));
        same("shut", "dio-submit", None);
        same("drained", "dio-submit", Some("direct I/O has ended"));
        same("evict", "remove-some", Some("nobody else has the inode"));
        same("evict", "read", Some(OTHER));
        same("fsync", "name-change", None);
        same("name-change", "name-lookup", Some("i_rwsem"));
        same("read", "reserve-looked-up", Some(OFF));
        // Of what is new nothing is known.
        same("read", "new", None);
    }
}
