// SPDX-License-Identifier: GPL-2.0
//! A failing schedule drawn by the lab's timeline.

use crate::plan::Plan;
use crate::shrink::Culprit;
use crate::site::Site;
use guest::harness::Res;
use lab::draw;
use lab::race::{Mode, Race, RACE};
use lab::tracing::{self, mark};

/// Texts of a race live as long as the program; there is one.
fn forever(text: &str) -> &'static str {
    Box::leak(text.to_string().into_boxed_str())
}

/// Runs it once more, and leaves the trace and the picture.
pub fn draw(site: &mut Site, least: &Culprit, plan: &Plan) -> Res {
    tracing::start()?;
    mark("race explore");
    let result = site.again(&least.schedule, true);
    let words = match result {
        Ok((Err(harm), _)) | Err(harm) => harm.words,
        Ok((Ok(()), _)) => "this time it did no harm".into(),
    };
    mark(&format!("harm check: {words}"));
    mark("end");
    let off: Vec<&'static str> = plan.off.iter().map(|s| forever(s)).collect();
    let mode = if off.is_empty() { Mode::On } else { Mode::Off };
    let race = Race {
        row: "harm",
        name: forever(&plan.stretch.seed.to_string()),
        story: forever(&format!("{}: {}", least.schedule, least.harm)),
        off: Box::leak(off.into_boxed_slice()),
        ..RACE
    };
    let stem = race.stem(mode);
    tracing::save(&plan.out.join(format!("{stem}.trace")))?;
    println!("\n{}", draw::picture(&plan.out, &race, mode)?);
    println!("picture: {stem}.svg");
    Ok(())
}
