// SPDX-License-Identifier: GPL-2.0
//! All looks at one byte, together: each of them may be fine alone, and all of them still be what
//! no order explains.
//!
//! ```text
//!   A                  B                    C
//!   writes 'A'
//!                      reads 'A'
//!                                           reads zero: not any more
//! ```
//!
//! So for each byte one order is looked for, in which who was over came before who began then, and
//! each one sees what was written last before it. Per byte, for no more is promised: a read may see
//! a part of a write.

use crate::drive::Span;
use crate::oracle::{show, Act, Oracle};
use crate::program::thread_name;
use std::collections::HashSet;

/// What somebody did to a byte.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum What {
    Writes {
        value: u8,
        /// If not it may have done nothing.
        certain: bool,
    },
    Shows(u8),
}

#[derive(Clone, Copy, Debug)]
pub struct Event {
    pub span: Span,
    pub what: What,
}

/// Which of the events are behind us, and what the byte is then.
type State = (u32, u8);

/// Is there an order that explains them all?
pub fn explained(initial: u8, events: &[Event]) -> bool {
    let mut known = HashSet::new();
    from((0, initial), events, &mut known)
}

fn from((done, value): State, events: &[Event], known: &mut HashSet<State>) -> bool {
    let all = (1u32 << events.len()) - 1;
    if done == all {
        return true;
    }
    if !known.insert((done, value)) {
        return false;
    }
    let is_open = |i: usize| done & 1 << i == 0;
    let is_next = |i: &usize| {
        let waits = |j: usize| is_open(j) && events[j].span.before(&events[*i].span);
        is_open(*i) && !(0..events.len()).any(waits)
    };
    let next: Vec<usize> = (0..events.len()).filter(is_next).collect();
    // Who sees what is there may as well see it now.
    let sees = |i: &&usize| events[**i].what == What::Shows(value);
    if let Some(i) = next.iter().find(sees) {
        return from((done | 1 << i, value), events, known);
    }
    next.into_iter().any(|i| match events[i].what {
        What::Shows(_) => false,
        What::Writes {
            value: new,
            certain,
        } => {
            let after = done | 1 << i;
            from((after, new), events, known) || !certain && from((after, value), events, known)
        }
    })
}

/// What somebody has seen.
struct Look<'a> {
    who: Option<&'a Act<'a>>,
    span: Span,
    at: u64,
    seen: Vec<u8>,
}

impl Look<'_> {
    /// By way of the page cache, or of the blocks.
    fn is_direct(&self) -> bool {
        self.who.is_some_and(|act| act.op.verb.is_direct())
    }

    fn byte(&self, at: u64) -> Option<u8> {
        let i = at.checked_sub(self.at)?;
        self.seen.get(usize::try_from(i).ok()?).copied()
    }

    /// Places where it shows something else than just before.
    fn edges(&self) -> Vec<u64> {
        let mut at = self.at;
        let mut edges = vec![at];
        for same in self.seen.chunk_by(|a, b| a == b) {
            at += same.len() as u64;
            edges.push(at);
        }
        edges
    }
}

/// Is there an order for each byte of a file, with what it is at the end?
pub fn check(oracle: &Oracle<'_>, file: u8, end: &[u8]) -> Result<(), String> {
    let here = || oracle.acts.iter().filter(|a| a.op.file == file);
    let mut looks: Vec<Look<'_>> = Vec::new();
    for act in here() {
        let parts = oracle.seen(act);
        looks.extend(parts.into_iter().map(|(at, seen)| Look {
            who: Some(act),
            span: act.span,
            at,
            seen,
        }));
    }
    // What is there at the end has been looked at alone.
    if looks.is_empty() {
        return Ok(());
    }
    looks.push(Look {
        who: None,
        span: Span {
            from: usize::MAX,
            to: usize::MAX,
        },
        at: 0,
        seen: end.to_vec(),
    });
    let mut edges = oracle.edges(file);
    edges.extend(looks.iter().flat_map(Look::edges));
    edges.retain(|at| *at < oracle.program.most());
    edges.sort_unstable();
    edges.dedup();
    edges
        .into_iter()
        .try_for_each(|at| byte(oracle, file, at, &looks))
}

/// May a page show what was there before, as long as this is on its way? Without the gate who fills
/// one meanwhile is not kept from it. Who reads directly looks at no page.
fn is_loose(oracle: &Oracle<'_>, act: &Act<'_>, at: u64) -> bool {
    let direct = act.op.verb.is_direct_write();
    direct && !oracle.program.image.gate && (act.op.at..act.op.end()).contains(&at)
}

fn byte(oracle: &Oracle<'_>, file: u8, at: u64, looks: &[Look<'_>]) -> Result<(), String> {
    let here = || oracle.acts.iter().filter(|a| a.op.file == file);
    let put_back = here().any(|act| oracle.is_put_back(act, at));
    let vague = oracle.is_vague(file, at) || oracle.may_differ(file, at);
    if put_back || vague || oracle.is_moved(file, at) {
        return Ok(());
    }
    let mut events = Vec::new();
    let mut words = Vec::new();
    for act in here() {
        let Some(mark) = oracle.mark(act, at) else {
            continue;
        };
        let (value, certain) = (mark.value, mark.certain);
        events.push(Event {
            span: act.span_at(at),
            what: What::Writes { value, certain },
        });
        words.push((act.span, format!("{} left {}", name(act), show(value))));
    }
    let overlaps = |a: &Span, b: &Span| !a.before(b) && !b.before(a);
    for look in looks {
        let loose = |a: &Act<'_>| is_loose(oracle, a, at) && overlaps(&a.span, &look.span);
        let excused = !look.is_direct() && here().any(loose);
        let Some(value) = look.byte(at).filter(|_| !excused) else {
            continue;
        };
        events.push(Event {
            span: look.span,
            what: What::Shows(value),
        });
        let who = look.who.map_or("the end".into(), name);
        words.push((look.span, format!("{who} shows {}", show(value))));
    }
    if explained(oracle.initial(file, at), &events) {
        return Ok(());
    }
    words.sort_by_key(|(span, _)| (span.from, span.to));
    let told: Vec<String> = words.into_iter().map(|(_, text)| text).collect();
    Err(format!("no order explains {at}: {}", told.join(", ")))
}

/// `B2`: the second operation of thread B.
fn name(act: &Act<'_>) -> String {
    format!("{}{}", thread_name(act.thread), act.nth + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(from: usize, to: usize, what: What) -> Event {
        Event {
            span: Span { from, to },
            what,
        }
    }

    fn writes(from: usize, to: usize, value: u8) -> Event {
        let certain = true;
        event(from, to, What::Writes { value, certain })
    }

    fn shows(from: usize, to: usize, value: u8) -> Event {
        event(from, to, What::Shows(value))
    }

    #[test]
    fn new_then_old() {
        let write = writes(0, 9, b'A');
        assert!(explained(0, &[write, shows(1, 2, 0), shows(3, 4, b'A')]));
        assert!(!explained(0, &[write, shows(1, 2, b'A'), shows(3, 4, 0)]));
        // Those that overlap may see it either way.
        assert!(explained(0, &[write, shows(1, 3, b'A'), shows(2, 4, 0)]));
    }

    #[test]
    fn one_order_for_all() {
        let both = [writes(0, 9, b'A'), writes(0, 9, b'D')];
        let with = |looks: &[Event]| explained(0, &[&both, looks].concat());
        assert!(with(&[
            shows(1, 2, b'A'),
            shows(3, 4, b'D'),
            shows(10, 10, b'D')
        ]));
        assert!(!with(&[
            shows(1, 2, b'A'),
            shows(3, 4, b'D'),
            shows(10, 10, b'A')
        ]));
        assert!(!with(&[
            shows(1, 2, b'A'),
            shows(3, 4, b'D'),
            shows(5, 6, b'A')
        ]));
        // Two that see them in different orders, each of them twice.
        assert!(!with(&[
            shows(1, 2, b'A'),
            shows(3, 4, b'D'),
            shows(1, 2, b'D'),
            shows(3, 4, b'A'),
        ]));
    }

    #[test]
    fn what_may_have_failed() {
        let value = b'A';
        let certain = false;
        let failed = event(0, 2, What::Writes { value, certain });
        assert!(explained(0, &[failed, shows(3, 4, 0)]));
        assert!(explained(0, &[failed, shows(3, 4, b'A')]));
        assert!(!explained(0, &[failed, shows(3, 4, b'A'), shows(5, 5, 0)]));
    }
}
