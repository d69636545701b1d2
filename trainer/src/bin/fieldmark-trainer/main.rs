//! The trainer's program: `fieldmark-trainer synth | lint | train | recipes | eval | unknown | export | report | convert |
//! make | fetch | deploy`.

mod args;
#[cfg(test)]
mod book;
mod checkpoint;
mod convert;
mod deploy;
mod eval;
mod export;
mod fetch;
mod lint;
mod make;
mod own_files;
mod predictions;
mod progress;
mod remedy;
mod report;
mod say;
mod self_test;
mod stop;
mod synth;
mod train;
mod unknown;

use std::env;
use std::process::ExitCode;

use fieldmark_trainer::net::ops;
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
        Command::Make(args) => make::run(&args),
        Command::Fetch(args) => fetch::run(&args),
        Command::Deploy(args) => deploy::run(&args),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let subcommand = env::args().nth(1).unwrap_or_default();
            if let Some(signal) = stopped_by(&error) {
                say::aside(&error.to_string());
                return ExitCode::from(stop::exit_code(signal));
            }
            say::aside(&format!("error: {}{}", say::chain(&error), remedy::remedy(&error, &subcommand)));
            ExitCode::FAILURE
        }
    }
}

/// The signal that asked for the end, where an error says no more than that.
fn stopped_by(error: &anyhow::Error) -> Option<i32> {
    match error.downcast_ref() {
        Some(&(TrainError::Stopped { signal, .. } | TrainError::StoppedReading { signal })) => Some(signal),
        _ => error.downcast_ref::<stop::Stopped>().map(|stopped| stopped.signal),
    }
}
