//! `fieldmark-trainer eval`: a run on its test split.

use anyhow::{Context, Result};
use fieldmark::file::write_whole;
use fieldmark_trainer::measure::{eval, faithfulness};
use fieldmark_trainer::net::device;
use fieldmark_trainer::run::folder;
use fieldmark_trainer::run::records::{self, Evaluation};

use crate::args::EvalArgs;
use crate::{checkpoint, progress, say};

/// Runs the subcommand; returns what it has written.
///
/// # Errors
/// A run that cannot be read, and figures that cannot be written.
pub fn run(args: &EvalArgs) -> Result<Evaluation> {
    let precision = args.precision;
    let device = device::open(args.device, precision)?;
    let mut trained = folder::open(&args.run, args.data.as_deref(), checkpoint::chosen(args.last))?;
    trained.network = trained.network.on(&device, precision)?;
    let mut evaluation = eval::evaluate(&trained, records::comparison(&args.run)?.as_ref())?;
    if args.faithfulness {
        let bar = progress::picture_bar()?;
        let measured = faithfulness::faithfulness(&trained, args.pictures.get(), &bar);
        bar.finish_and_clear();
        evaluation.faithfulness = Some(measured?);
    }
    let path = args.run.join(records::EVAL);
    let json = serde_json::to_string_pretty(&evaluation)? + "\n";
    write_whole(&path, json.as_bytes()).with_context(|| format!("cannot write {}", path.display()))?;
    say::evaluation(&evaluation);
    Ok(evaluation)
}
