//! `fieldmark-trainer export`: from a run to the board's model file.

use anyhow::Result;
use fieldmark_trainer::measure::doubts::doubts;
use fieldmark_trainer::measure::eval;
use fieldmark_trainer::publish::export;
use fieldmark_trainer::run::{folder, records};

use crate::args::ExportArgs;
use crate::own_files::refuse_inside;
use crate::{checkpoint, say};

/// Runs the subcommand.
///
/// # Errors
/// A run that cannot be read, a model that is of no use or that the board's engine answers differently.
pub fn run(args: &ExportArgs) -> Result<()> {
    refuse_inside(&args.run, &args.out, None)?;
    let trained = folder::open(&args.run, args.data.as_deref(), checkpoint::chosen(args.last))?;
    let evaluation = folder::evaluation(&args.run, &trained.weights)?;
    if let Some(evaluation) = evaluation.as_ref().filter(|_| !args.anyway) {
        export::check_use(evaluation, trained.dataset.validation.len())?;
    }
    let score = eval::score(records::comparison(&args.run)?.as_ref());
    let exported =
        export::export(&trained, &args.out, args.precision, args.pictures, score, evaluation.as_ref())?;
    say::exported(&exported, &args.out);
    if let Some(evaluation) = &evaluation {
        say::doubts(&doubts(evaluation, trained.dataset.validation.len()));
    }
    Ok(())
}
