//! `fieldmark-trainer synth`: birds with known field marks, or marks planted on photos.

use anyhow::Result;
use fieldmark_trainer::data::synth::planted::{self, PlantedConfig, plant_dataset};
use fieldmark_trainer::data::synth::{SPECIES, SynthConfig, draw_dataset};

use crate::args::SynthArgs;
use crate::say;

/// Runs the subcommand.
///
/// # Errors
/// A folder with something in it, and what cannot be drawn or written.
pub fn run(args: &SynthArgs) -> Result<()> {
    let &SynthArgs { train: per_class_train, test: per_class_test, seed, .. } = args;
    let (classes, what) = match &args.on {
        None => {
            let classes = args.classes.unwrap_or(SPECIES.len());
            let side = args.side.unwrap_or(SynthConfig::default().side);
            draw_dataset(&args.out, &SynthConfig { classes, per_class_train, per_class_test, side, seed })?;
            (classes, "species")
        }
        Some(photos) => {
            let classes = args.classes.unwrap_or(planted::CLASSES);
            let side = args.side.unwrap_or(PLANTED_SIDE);
            let config = PlantedConfig { classes, per_class_train, per_class_test, side, seed };
            plant_dataset(photos, &args.out, &config)?;
            (classes, "marks on photos")
        }
    };
    let (train, test) = (classes * per_class_train, classes * per_class_test);
    let out = args.out.display();
    say::aside(&format!("{train} training and {test} test pictures of {classes} {what} are in {out}"));
    Ok(())
}

/// What the recipe `photos` sees.
const PLANTED_SIDE: u32 = 224;
