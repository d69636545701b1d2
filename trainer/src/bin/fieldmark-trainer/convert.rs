//! `fieldmark-trainer convert`: pretrained weights as one file that says what they are.

use std::path::Path;

use anyhow::Result;
use fieldmark_trainer::net::backbone::{Backbone, Convention};
use fieldmark_trainer::net::weights;

use crate::args::ConvertArgs;
use crate::own_files::refuse_same;
use crate::say;

/// Runs the subcommand.
///
/// # Errors
/// Weights that cannot be read, or are another network's.
pub fn run(args: &ConvertArgs) -> Result<()> {
    refuse_same(&args.file, &args.out)?;
    convert(&args.file, args.backbone, args.convention, [&args.source, &args.licence], &args.out)?;
    say::result(&format!("{}", args.out.display()));
    Ok(())
}

/// Rewrites weights with their source and their licence; where one is empty, what the file itself says stays.
///
/// # Errors
/// Weights that cannot be read, or are another network's.
pub fn convert(
    file: &Path,
    backbone: Backbone,
    convention: Option<Convention>,
    [source, licence]: [&str; 2],
    out: &Path,
) -> Result<()> {
    let mut pretrained = weights::read(file, backbone, convention)?;
    for (said, given) in [(&mut pretrained.origin.source, source), (&mut pretrained.origin.licence, licence)]
    {
        if !given.is_empty() {
            given.clone_into(said);
        }
    }
    pretrained.save(out)?;
    let foreign = pretrained.foreign();
    if !foreign.is_empty() {
        say::aside(&format!("left out because {backbone} has no such layers: {}", foreign.join(", ")));
    }
    Ok(())
}
