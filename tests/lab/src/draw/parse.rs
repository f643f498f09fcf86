// SPDX-License-Identifier: GPL-2.0
//! A trace as tracefs prints it, line by line.

/// One line: `comm-pid [cpu] flags time: name: body`.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    pub pid: u32,
    pub comm: String,
    /// `tracing_mark_write` for what the scenario says.
    pub name: String,
    pub body: String,
}

/// What the scenario writes comes from this function of the kernel.
pub const MARK: &str = "tracing_mark_write";

impl Event {
    fn parse(line: &str) -> Option<Event> {
        // A name may have spaces, dashes and colons in it; what follows it has a fixed form.
        let cpu = line.match_indices(" [").find_map(|(at, _)| {
            let after = line.get(at + 2..)?;
            let digits = after.find(']')?;
            let number = after[..digits].chars().all(|c| c.is_ascii_digit());
            number.then_some((at, at + 2 + digits + 1))
        })?;
        let (comm, pid) = line[..cpu.0].trim().rsplit_once('-')?;
        // The latency flags may be switched off.
        let (head, rest) = line[cpu.1..].trim().split_once(": ")?;
        head.split_whitespace().last()?.parse::<f64>().ok()?;
        let (name, body) = rest.split_once(": ")?;
        Some(Event {
            pid: pid.parse().ok()?,
            comm: comm.to_string(),
            name: name.trim().to_string(),
            body: body.trim().to_string(),
        })
    }

    /// The value after `key`, be it `key value` or `key=value`.
    pub fn get(&self, key: &str) -> Option<&str> {
        let mut words = self.body.split(' ');
        while let Some(w) = words.next() {
            if w == key {
                return words.next();
            }
            if let Some((k, v)) = w.split_once('=') {
                if k == key {
                    return Some(v);
                }
            }
        }
        None
    }

    /// A number; hexadecimal with `0x`.
    pub fn num(&self, key: &str) -> Option<u64> {
        let v = self.get(key)?;
        match v.strip_prefix("0x") {
            Some(hex) => u64::from_str_radix(hex, 16).ok(),
            None => v.parse().ok(),
        }
    }

    /// Device and inode. Each subsystem has its own way to print them.
    pub fn file(&self) -> Option<(String, u64)> {
        if let Some(bdi) = self.get("bdi") {
            return Some((bdi.trim_end_matches(':').to_string(), self.num("ino")?));
        }

        let dev = self.get("dev")?.replace(',', ":");
        let ino = self.get("ino")?;
        let ino = u64::from_str_radix(ino.trim_start_matches("0x"), 16).ok()?;
        Some((dev, ino))
    }
}

/// All events of a trace, and whether some were lost.
pub fn parse(text: &str) -> (Vec<Event>, bool) {
    let lost = text.lines().any(|l| l.contains(" EVENTS]"));
    let events = text
        .lines()
        .filter(|l| !l.starts_with('#'))
        .filter_map(Event::parse)
        .collect();
    (events, lost)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line() {
        let line = "     kworker/u4:1-x-23      [001] d..2.     2.800000: rext4_map: dev 98:0 ino 0xc lblk 0x10 flags WRITE|FAULT seq 5";
        let e = Event::parse(line).unwrap();
        assert_eq!((e.comm.as_str(), e.pid), ("kworker/u4:1-x", 23));
        assert_eq!(e.name, "rext4_map");
        assert_eq!(e.num("lblk"), Some(16));
        assert_eq!(e.num("seq"), Some(5));
        assert_eq!(e.get("flags"), Some("WRITE|FAULT"));
        assert_eq!(e.file(), Some(("98:0".into(), 12)));
    }

    #[test]
    fn other_forms() {
        let line =
            " a [b]-7 [000] 2.8: mm_filemap_add_to_page_cache: dev 98:0 ino c pfn=0x1 ofs=4096";
        let e = Event::parse(line).unwrap();
        assert_eq!((e.comm.as_str(), e.pid), ("a [b]", 7));
        assert_eq!(e.file(), Some(("98:0".into(), 12)));
        assert_eq!(e.num("ofs"), Some(4096));
        assert_eq!(Event::parse("CPU:0 [LOST 12 EVENTS]"), None);
        let (events, lost) = parse("# tracer: nop\nCPU:0 [LOST 12 EVENTS]\n");
        assert!(events.is_empty() && lost);
    }
}
