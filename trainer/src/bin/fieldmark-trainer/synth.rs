//! `fieldmark-trainer synth`: birds with known field marks, or marks planted on photos.

use anyhow::Result;
use fieldmark_trainer::data::synth::planted::{self, plant_dataset};
use fieldmark_trainer::data::synth::{SPECIES, SynthConfig, draw_dataset};

use crate::args::SynthArgs;
use crate::say;

/// Runs the subcommand.
///
/// # Errors
/// A folder with something in it, and what cannot be drawn or written.
pub fn run(args: &SynthArgs) -> Result<()> {
    let (most, what, usual) = match args.on {
        None => (SPECIES.len(), "species", SynthConfig::default().side),
        Some(_) => (planted::CLASSES, "marks on photos", PLANTED_SIDE),
    };
    let classes = args.classes.unwrap_or(most);
    let &SynthArgs { train: per_class_train, test: per_class_test, seed, .. } = args;
    let side = args.side.unwrap_or(usual);
    let config = SynthConfig { classes, per_class_train, per_class_test, side, seed };
    match &args.on {
        None => draw_dataset(&args.out, &config)?,
        Some(photos) => plant_dataset(photos, &args.out, &config)?,
    }
    let (train, test) = (classes * per_class_train, classes * per_class_test);
    let out = args.out.display();
    say::aside(&format!("{train} training and {test} test pictures of {classes} {what} are in {out}"));
    Ok(())
}

/// What the recipe `photos` sees.
const PLANTED_SIDE: u32 = 224;
