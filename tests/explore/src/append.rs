// SPDX-License-Identifier: GPL-2.0
//! Appends: where the end of the file was only they can say, afterwards.

use crate::oracle::Outcome;
use crate::program::Program;

/// What one comes back with.
pub fn came(written: usize, at: u64) -> (u64, Vec<u8>) {
    (written as u64, at.to_le_bytes().to_vec())
}

/// Where it was done; nobody knows of one that failed.
fn place(outcome: &Outcome) -> Option<u64> {
    match outcome {
        Outcome::Done(_, at) => Some(u64::from_le_bytes(at.as_slice().try_into().ok()?)),
        Outcome::Failed(_) => None,
    }
}

/// The program with its appends at the places that they found.
pub fn placed(program: &Program, outcomes: &[Vec<Outcome>]) -> Program {
    let mut program = program.clone();
    for (ops, outcomes) in program.threads.iter_mut().zip(outcomes) {
        for (op, outcome) in ops.iter_mut().zip(outcomes) {
            let at = place(outcome).filter(|_| op.verb.appends());
            op.at = at.unwrap_or(op.at);
        }
    }
    program
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::judged::oracle_says;

    fn done(n: u64) -> Outcome {
        Outcome::Done(n, vec![])
    }

    /// Two operations one after the other, or both at once: the file at the end.
    fn rest(text: &str, overlap: bool, outcomes: [Outcome; 2], seen: &[u8]) -> Result<(), String> {
        let program: Program = text.parse().unwrap();
        let parts = outcomes.clone().map(|outcome| vec![outcome]);
        let text = placed(&program, &parts).to_string();
        let spans = match overlap {
            true => [(0, 2), (1, 3)],
            false => [(0, 1), (2, 3)],
        };
        oracle_says(&text, &spans, &outcomes, |oracle| {
            oracle.outcomes()?;
            oracle.rest(0, seen)
        })
    }

    fn append(n: usize, at: u64) -> Outcome {
        let (n, at) = came(n, at);
        Outcome::Done(n, at)
    }

    #[test]
    fn it_is_where_the_file_ended() {
        let text = "4k,empty:bw.a.0+4/ap.a.0+4";
        let both = |at| [done(4), append(4, at)];
        assert_eq!(rest(text, false, both(4), b"AAAADDDD"), Ok(()));
        // Over what was written before, and behind the end.
        assert!(rest(text, false, both(0), b"DDDD").is_err());
        assert!(rest(text, false, both(0), b"AAAA").is_err());
        assert!(rest(text, false, both(8), b"AAAA\0\0\0\0DDDD").is_err());
        // At the same time either may be first.
        assert_eq!(rest(text, true, both(4), b"AAAADDDD"), Ok(()));
        assert_eq!(rest(text, true, both(0), b"AAAA"), Ok(()));
        assert!(rest(text, true, both(2), b"AADDDD").is_err());
    }

    #[test]
    fn two_have_places_of_their_own() {
        let text = "4k,empty:ap.a.0+4/ap.a.0+4";
        let both = |one, other| [append(4, one), append(4, other)];
        assert_eq!(rest(text, true, both(4, 0), b"DDDDAAAA"), Ok(()));
        assert!(rest(text, true, both(0, 0), b"DDDD").is_err());
        assert!(rest(text, true, both(0, 4), b"DDDDAAAA").is_err());
        assert!(rest(text, false, both(4, 0), b"DDDDAAAA").is_err());
    }

    #[test]
    fn after_a_cut_it_is_where_the_file_ends_now() {
        let text = "4k,written:tr.a.0/ap.a.0+4";
        assert_eq!(rest(text, true, [done(0), append(4, 0)], b"DDDD"), Ok(()));
        assert_eq!(rest(text, true, [done(0), append(4, 8704)], b""), Ok(()));
        assert!(rest(text, false, [done(0), append(4, 8704)], b"").is_err());
        assert!(rest(text, true, [done(0), append(4, 4096)], b"").is_err());
    }

    #[test]
    fn one_that_failed_may_be_anywhere_behind_the_end() {
        let text = "4kt,empty:bw.a.0+4/ap.a.0+4";
        let failed = || [done(4), Outcome::Failed(libc::ENOSPC)];
        assert_eq!(rest(text, true, failed(), b"AAAA"), Ok(()));
        assert_eq!(rest(text, true, failed(), b"AAAADD"), Ok(()));
        assert!(rest(text, false, failed(), b"DDAA").is_err());
        // Nor where one that comes behind it found the end.
        let both = "4kt,empty:ap.a.0+4/ap.a.0+4";
        let after = |at| [Outcome::Failed(libc::ENOSPC), append(4, at)];
        assert_eq!(rest(both, false, after(2), b"AADDDD"), Ok(()));
        assert!(rest(both, false, after(0), b"AADD").is_err());
        let wide = "4k,empty:bw.a.0+4/ap.a.0+4";
        assert!(rest(wide, true, failed(), b"AAAA").is_err());
    }

    #[test]
    fn a_direct_one_wants_an_end_at_a_sector() {
        let refused = || [done(4), Outcome::Failed(libc::EINVAL)];
        let odd = "4kg,empty:bw.a.0+4/ad.a.0+512";
        assert_eq!(rest(odd, true, refused(), b"AAAA"), Ok(()));
        let whole = [done(512), Outcome::Failed(libc::EINVAL)];
        let even = "4kg,empty:bw.a.0+512/ad.a.0+512";
        assert!(rest(even, true, whole, &[b'A'; 512]).is_err());
    }

    #[test]
    fn who_must_not_wait_has_done_nothing() {
        let again = || [done(4), Outcome::Failed(libc::EAGAIN)];
        let text = "4k,empty:bw.a.0+4/wn.a.0+8";
        assert_eq!(rest(text, true, again(), b"AAAA"), Ok(()));
        assert!(rest(text, true, again(), b"DDDD").is_err());
        assert!(rest(text, true, again(), b"AAAADDDD").is_err());
        assert!(rest(text, true, again(), b"AAAA\0\0\0\0").is_err());
        // Or a part of it.
        assert_eq!(rest(text, false, [done(4), done(2)], b"DDAA"), Ok(()));
        assert!(rest(text, false, [done(4), done(2)], b"AAAA").is_err());
        // Others are not refused so.
        let waits = "4k,empty:bw.a.0+4/bs.a.0+8";
        assert!(rest(waits, true, again(), b"AAAA").is_err());
        assert!(rest(waits, false, [done(4), done(2)], b"DDAA").is_err());
    }
}
