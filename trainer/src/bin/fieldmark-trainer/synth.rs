//! `fieldmark-trainer synth`: birds with known field marks.

use anyhow::Result;
use fieldmark_trainer::data::synth::{SynthConfig, draw_dataset};

use crate::args::SynthArgs;
use crate::say;

/// Runs the subcommand.
///
/// # Errors
/// A folder with something in it, and what cannot be drawn or written.
pub fn run(args: &SynthArgs) -> Result<()> {
    let config = SynthConfig {
        classes: args.classes,
        per_class_train: args.train,
        per_class_test: args.test,
        side: args.side,
        seed: args.seed,
    };
    draw_dataset(&args.out, &config)?;
    let (train, test) = (args.classes * args.train, args.classes * args.test);
    let out = args.out.display();
    say::aside(&format!(
        "{train} training and {test} test pictures of {} species are in {out}",
        args.classes
    ));
    Ok(())
}
