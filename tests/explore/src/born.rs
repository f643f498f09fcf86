// SPDX-License-Identifier: GPL-2.0
//! What the oracle knows of operations on their way: bytes that come into the file with a write,
//! pages that a device has pinned, and bytes that are put back.

use crate::drive::Span;
use crate::op::Verb;
use crate::oracle::{Act, Oracle, Outcome};
use crate::program::PAGE;

/// Does it leave a gap of zeros that `at` is in, if it is done where the file ends before it?
fn leaves_gap(act: &Act<'_>, at: u64) -> bool {
    let op = act.op;
    match op.verb {
        Verb::Truncate => op.at > at,
        Verb::Allocate | Verb::Zero | Verb::OwnWrite => op.end() > at,
        // Nobody knows where that was.
        verb if verb.appends() && matches!(act.outcome, Outcome::Failed(_)) => true,
        verb if verb.writes() && !verb.is_mapped() => {
            let whole = matches!(act.outcome, Outcome::Done(n, _) if *n == op.len);
            op.end() > at && (op.at > at || !whole)
        }
        verb => verb.shifts(),
    }
}

impl Oracle<'_> {
    /// Was there no byte here before somebody wrote it? Who sees it in the file sees what was
    /// written, for the size moves when the data is there. It never was zero.
    pub fn is_new(&self, file: u8, at: u64, look: Option<&Span>) -> bool {
        let here = |act: &&Act<'_>| act.op.file == file;
        let early = |act: &&Act<'_>| look.is_none_or(|look| !look.before(&act.span));
        let mut acts = self.acts.iter().filter(here).filter(early);
        let quiet = self.hits.is_empty() && !self.program.image.tight;
        quiet && at >= self.program.size(file) && !acts.any(|act| leaves_gap(act, at))
    }

    /// Those that are on their way at the same time, in the same file.
    fn beside<'s>(&'s self, act: &'s Act<'_>) -> impl Iterator<Item = &'s Act<'s>> + 's {
        let here = move |other: &&Act<'_>| {
            let apart = other.span.before(&act.span) || act.span.before(&other.span);
            other.op.file == act.op.file && !apart
        };
        self.acts.iter().filter(here)
    }

    /// May a device have a page of the file meanwhile? It does not go then, and what must have it
    /// gone is refused.
    pub fn is_pinned(&self, act: &Act<'_>) -> bool {
        self.beside(act).any(|other| other.op.verb.pins())
    }

    /// May somebody put back what was there before? Who writes what he reads through his mapping
    /// has read it some time before he writes it. And he asks for no pins when he drops his pages:
    /// what a device stores there later is in no file (race 26, what is not closed).
    pub fn is_put_back(&self, act: &Act<'_>, at: u64) -> bool {
        let unit = if act.op.verb.pins() { PAGE } else { 1 };
        let covers = |other: &Act<'_>| {
            let all = other.op.at / unit..other.op.end().div_ceil(unit);
            all.contains(&(at / unit))
        };
        let mut others = self.beside(act);
        others.any(|other| other.op.verb == Verb::OwnWrite && covers(other))
    }
}

#[cfg(test)]
mod tests {
    use crate::judged::oracle_says;
    use crate::oracle::Outcome;

    /// An append of four bytes, something else, and a read meanwhile.
    fn reads(text: &str, seen: &[u8]) -> bool {
        let read = Outcome::Done(seen.len() as u64, seen.to_vec());
        let all = [Outcome::Done(4, vec![]), Outcome::Done(0, vec![]), read];
        let spans = [(0, 9), (1, 8), (2, 3)];
        oracle_says(text, &spans, &all, |oracle| oracle.outcomes()).is_ok()
    }

    #[test]
    fn an_append_never_was_zero() {
        let text = "4k,empty:bw.a.0+4/fs.a/br.a.0+4";
        assert!(reads(text, b"") && reads(text, b"AAAA") && !reads(text, b"AA\0\0"));
        // But for a gap, or where the byte was before.
        assert!(reads("4k,empty:bw.a.0+4/tr.a.2/br.a.0+4", b"AA\0\0"));
        assert!(reads("4k,empty:bw.a.0+4/al.a.0+4/br.a.0+4", b"\0\0"));
        assert!(reads("4k,hole:bw.a.0+4/fs.a/br.a.0+4", b"\0\0AA"));
        assert!(reads("4k,empty:bw.a.2+4/fs.a/br.a.0+4", b"\0\0AA"));
        assert!(reads("4kt,empty:bw.a.0+4/fs.a/br.a.0+4", b"\0\0AA"));
    }

    #[test]
    fn what_was_read_before_is_put_back() {
        let ends = |spans: [(usize, usize); 2], byte: u8| {
            let all = [512, 512].map(|n| Outcome::Done(n, vec![]));
            let mut end = vec![b'i'; 8704];
            end[..512].fill(byte);
            let text = "4kg,written:bw.a.0+512/ow.a.0+512";
            oracle_says(text, &spans, &all, |oracle| oracle.rest(0, &end)).is_ok()
        };
        // Of a page that a device has, all of it.
        let pinned = |first: u8| {
            let all = [4096, 0, 512].map(|n| Outcome::Done(n, vec![]));
            let mut end = vec![b'i'; 8704];
            end[..4096].fill(first);
            let text = "4kg,written:pn.a.0+4096,dl.a/ow.a.512+512";
            let spans = [(0, 3), (3, 3), (1, 2)];
            oracle_says(text, &spans, &all, |oracle| oracle.rest(0, &end)).is_ok()
        };
        assert!(pinned(b'A') && pinned(b'i') && !pinned(0));
        let (both, apart) = ([(0, 2), (1, 3)], [(0, 1), (2, 3)]);
        assert!(ends(both, b'A') && ends(both, b'i') && !ends(both, 0));
        assert!(ends(apart, b'A') && !ends(apart, b'i'));
    }

    #[test]
    fn what_a_device_has_does_not_go() {
        let says = |other: &str, errno| {
            let text = format!("4k,written:cl.a.0+4096/{other}");
            let all = [Outcome::Failed(errno), Outcome::Done(512, vec![])];
            oracle_says(&text, &[(0, 2), (1, 3)], &all, |oracle| oracle.outcomes()).is_ok()
        };
        assert!(says("de.a.0+512", libc::EBUSY) && !says("de.b.0+512", libc::EBUSY));
        assert!(!says("st.a.0+512", libc::EBUSY) && !says("de.a.0+512", libc::EINVAL));
    }
}
