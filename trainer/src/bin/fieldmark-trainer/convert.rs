//! `fieldmark-trainer convert`: pretrained weights as one file that says what they are.

use anyhow::Result;
use fieldmark_trainer::net::weights;

use crate::args::ConvertArgs;
use crate::say;

/// Runs the subcommand.
///
/// # Errors
/// Weights that cannot be read, or are another network's.
pub fn run(args: &ConvertArgs) -> Result<()> {
    let mut pretrained = weights::read(&args.file, args.backbone, args.convention)?;
    for (said, typed) in
        [(&mut pretrained.origin.source, &args.source), (&mut pretrained.origin.licence, &args.licence)]
    {
        if !typed.is_empty() {
            said.clone_from(typed);
        }
    }
    pretrained.save(&args.out)?;
    let foreign = pretrained.foreign();
    if !foreign.is_empty() {
        say::aside(&format!("left out because {} has no such layers: {}", args.backbone, foreign.join(", ")));
    }
    say::result(&format!("{}", args.out.display()));
    Ok(())
}
