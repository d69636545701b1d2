//! The trainer's program: `fieldmark-trainer synth | lint | train | recipes | eval | unknown | export | report | convert`.

mod args;
#[cfg(test)]
mod book;
mod convert;
mod eval;
mod export;
mod lint;
mod progress;
mod remedy;
mod report;
mod say;
mod stop;
mod synth;
mod train;
mod unknown;

use std::process::ExitCode;

use fieldmark_trainer::net::ops;
use fieldmark_trainer::run::folder;
use fieldmark_trainer::training::train::TrainError;

use args::Command;

fn main() -> ExitCode {
    ops::keep_freed_memory();
    let done = match args::parse().command {
        Command::Synth(args) => synth::run(&args),
        Command::Lint(args) => match lint::run(&args) {
            Ok(lint) if args.strict && lint.has_warnings() => return ExitCode::FAILURE,
            other => other.map(drop),
        },
        Command::Train(args) => train::run(&args),
        Command::Recipes => {
            say::result(&args::table());
            Ok(())
        }
        Command::Eval(args) => eval::run(&args),
        Command::Unknown(args) => unknown::run(&args),
        Command::Export(args) => export::run(&args),
        Command::Report(args) => report::run(&args),
        Command::Convert(args) => convert::run(&args),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            if let Some(&(TrainError::Stopped { signal, .. } | TrainError::StoppedReading { signal })) =
                error.downcast_ref()
            {
                say::aside(&error.to_string());
                return ExitCode::from(stop::exit_code(signal));
            }
            say::aside(&format!("error: {}{}", say::chain(&error), remedy::remedy(&error)));
            ExitCode::FAILURE
        }
    }
}

/// The checkpoint that a subcommand reads.
fn checkpoint(last: bool) -> &'static str {
    if last { folder::LAST } else { folder::BEST }
}
