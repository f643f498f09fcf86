// SPDX-License-Identifier: GPL-2.0
//! Sequence after sequence, until the time is up or a state does harm.

use crate::act::{Sequence, Step};
use crate::judge::{Judge, Seen};
use crate::record::{start, Recorder, Recording, Start, BEGIN};
use crate::states::{image, states, Moment, State};
use guest::finder::Stretch;
use guest::harness::Res;
use model::op::Image;
use std::collections::HashMap;
use std::io::Write;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// Of so many states one is recovered by e2fsck as well.
const REPAIRED: u64 = 16;

/// Which sequences.
pub struct Plan {
    pub steps: Vec<Step>,
    pub stretch: Stretch,
    /// Of so many states the power fails once more during the recovery of one.
    pub again: u64,
    /// How many sequences are to be done, where it is no matter of time.
    pub wanted: Option<u64>,
    /// Mount options for what is recorded.
    pub options: String,
    /// Each handle is committed alone.
    pub each: bool,
    /// A folder.
    pub out: PathBuf,
}

impl Plan {
    /// How to do it again.
    fn replay(&self, sequence: &Sequence) -> String {
        let each = if self.each { " EACH=1" } else { "" };
        match (self.options.as_str(), sequence.text()) {
            ("", words) => format!("replay: make crash REPLAY={words}{each}"),
            (options, words) => {
                let each = if self.each { " --each" } else { "" };
                format!("replay: scripts/crash --options {options}{each} --replay {words}")
            }
        }
    }

    /// The sequence of this number.
    pub fn sequence(&self, number: u64) -> Sequence {
        Sequence::numbered(&self.steps, self.stretch.seed, number)
    }
}

pub struct Hunt {
    /// The file system under test, and who else recovers.
    judges: Vec<String>,
    pub recorder: Recorder,
    judge: Judge,
    images: HashMap<Image, Start>,
    /// States that were judged, each by all.
    done: u64,
    /// And those of them that a second cut, during recovery, has left.
    again: u64,
}

/// What went wrong.
struct Harm {
    /// When the power failed.
    moment: Option<Moment>,
    words: String,
}

impl Harm {
    fn tell(&self, sequence: &str, calls: &[String]) {
        println!("harm in {sequence}");
        for (i, line) in calls.iter().enumerate() {
            println!("  {:2} {line}", i + 1);
        }
        if let Some(moment) = &self.moment {
            println!(
                "the power fails after {} flushes; call {} has returned; on disk is of what came \
                 since: {}",
                moment.flushes, moment.returned, moment.words
            );
        }
        println!("harm: {}", self.words);
    }
}

fn harm<T>(words: String) -> Result<T, Harm> {
    let moment = None;
    Err(Harm { moment, words })
}

impl Hunt {
    /// A file for the disk that is written, the device for the log of it, and a file for the disk
    /// that is judged.
    pub fn new(judges: &[String], disks: [&str; 3], options: &str) -> Res<Hunt> {
        let [written, log, judged] = disks;
        Ok(Hunt {
            judges: judges.to_vec(),
            recorder: Recorder::new(&judges[0], [written, log], options)?,
            judge: Judge::new(judged)?,
            images: HashMap::new(),
            done: 0,
            again: 0,
        })
    }

    fn image(&mut self, image: Image) -> Res<()> {
        if !self.images.contains_key(&image) {
            let start = start(&self.judges[0], &mut self.recorder.disk, image)?;
            self.images.insert(image, start);
        }
        Ok(())
    }

    /// One sequence after the other. True if all went well.
    pub fn all(&mut self, plan: &Plan, which: impl Iterator<Item = Sequence>) -> Res<bool> {
        let (begun, mut told) = (Instant::now(), Duration::ZERO);
        let (mut done, mut fair) = (0, true);
        let mut table = std::fs::File::create(plan.out.join("states.tsv"))?;
        for sequence in which.take_while(|_| begun.elapsed() < plan.stretch.time) {
            let (before, since) = (self.done, Instant::now());
            fair = self.one(&sequence, plan)?;
            if !fair {
                break;
            }
            done += 1;
            let states = self.done - before;
            let seconds = since.elapsed().as_secs_f64();
            writeln!(table, "{}\t{states}\t{seconds:.1}", sequence.text())?;
            std::fs::write(
                plan.out.join("next"),
                format!("{}\n", plan.stretch.first + done),
            )?;
            if begun.elapsed() >= told {
                self.progress(done, begun);
                told = begun.elapsed() + Duration::from_secs(10);
            }
        }
        if fair {
            self.progress(done, begun);
        }
        println!("{} states were judged", self.done);
        let failed = u64::from(!fair);
        let left = plan.wanted.map_or(0, |wanted| wanted - done - failed);
        println!("{done} passed, {failed} failed, {left} skipped");
        Ok(fair)
    }

    fn progress(&self, sequences: u64, begun: Instant) {
        let seconds = begun.elapsed().as_secs_f64().max(0.001);
        println!(
            "{sequences} sequences, {} states ({} of them after a second cut), {:.1} per second, \
             {} checked by e2fsck, none did harm",
            self.done,
            self.again,
            self.done as f64 / seconds,
            self.judge.checked
        );
        let _ = std::io::stdout().flush();
    }

    /// Does a sequence, and judges all that a power cut may leave of it. True if all went well;
    /// else it is told, without the steps that the harm does not need.
    fn one(&mut self, sequence: &Sequence, plan: &Plan) -> Res<bool> {
        self.image(sequence.image)?;
        self.judge.expect(&self.images[&sequence.image]);
        let mut told = Vec::new();
        let Err(mut harm) = self.sequence(sequence, plan.again, &mut told) else {
            return Ok(true);
        };
        let mut shortest = sequence.clone();
        for i in (0..sequence.steps.len()).rev() {
            let mut less = shortest.clone();
            less.steps.remove(i);
            let mut calls = Vec::new();
            if less.steps.is_empty() {
                break;
            }
            if let Err(other) = self.sequence(&less, plan.again, &mut calls) {
                (harm, told, shortest) = (other, calls, less);
            }
        }
        harm.tell(&shortest.text(), &told);
        println!("{}", plan.replay(&shortest));
        Ok(false)
    }

    fn sequence(
        &mut self,
        sequence: &Sequence,
        again: u64,
        told: &mut Vec<String>,
    ) -> Result<(), Harm> {
        let start = &self.images[&sequence.image];
        let recording = self.recorder.record(start, sequence).or_else(harm)?;
        told.clone_from(&recording.told);
        let base = start.bytes.clone();
        let mut bytes = Vec::new();
        for state in states(&base, &recording.log, Some(BEGIN)) {
            image(&base, &state.changes, &mut bytes);
            self.state(&bytes, &state, &recording)?;
            if again > 0 && self.done % again == 0 {
                self.twice(&bytes, &state, &recording)?;
            }
        }
        self.judge.log().or_else(harm)
    }

    /// Judges one, by all.
    fn state(&mut self, bytes: &[u8], state: &State, recording: &Recording) -> Result<(), Harm> {
        let first = || state.moments.first().cloned();
        // Of some states e2fsck is another one who recovers.
        let repaired = self.done % REPAIRED == 0;
        let last = repaired.then(|| ("e2fsck", &self.judges[0]));
        let all = self.judges.iter().map(|fs| (fs.as_str(), fs)).chain(last);
        for (by, fs) in all {
            let seen = match by {
                "e2fsck" => self.judge.see_repaired(fs, bytes),
                _ => self.judge.see(fs, bytes),
            };
            let seen = seen.map_err(|words| Harm {
                moment: first(),
                words,
            })?;
            for moment in &state.moments {
                keeps(&seen, recording, moment)
                    .map_err(|words| format!("after recovery by {by}: {words}"))
                    .map_err(|words| Harm {
                        moment: Some(moment.clone()),
                        words,
                    })?;
            }
        }
        self.done += 1;
        Ok(())
    }

    /// The power fails again, during the recovery of this state.
    fn twice(&mut self, bytes: &[u8], state: &State, recording: &Recording) -> Result<(), Harm> {
        let log = self.recorder.recover(bytes).or_else(harm)?;
        let mut left = Vec::new();
        for second in states(bytes, &log, None) {
            image(bytes, &second.changes, &mut left);
            let moments = state.moments.iter().map(|moment| Moment {
                words: match second.moments.first() {
                    Some(again) => format!(
                        "{}; then it fails again {} recovery, after {} flushes: {}",
                        moment.words,
                        ["during", "after"][again.returned.min(1)],
                        again.flushes,
                        again.words
                    ),
                    None => moment.words.clone(),
                },
                ..moment.clone()
            });
            let second = State {
                changes: second.changes,
                moments: moments.collect(),
            };
            self.state(&left, &second, recording)?;
            self.again += 1;
        }
        Ok(())
    }
}

/// What was promised when so many calls had returned.
fn keeps(seen: &Seen, recording: &Recording, moment: &Moment) -> Result<(), String> {
    match recording.promises.get(moment.returned) {
        Some(promises) => seen.keeps(promises),
        None => Err(format!("the log has a mark of call {}", moment.returned)),
    }
}
