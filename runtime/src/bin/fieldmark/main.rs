//! The board's program: names what pictures show, and by which marks.
//!
//! Results go to stdout, all else to stderr. [`Exit`] lists the exit codes.

mod args;
mod bench;
#[cfg(test)]
mod book;
mod exit;
mod inputs;
mod inspect;
mod marks;
mod messages;
mod output;
mod overlay;
mod predict;
mod read;
mod record;
#[cfg(all(feature = "serve", unix))]
mod serve;
mod text;
mod verify;

use std::io;
use std::panic::{self, PanicHookInfo};
use std::process::{self, ExitCode};

use clap::Parser;
use fieldmark::engine::LoadError;

use args::{Cli, Command, UsageError};
use exit::Exit;
use messages::{reason, sentence, tell};
use read::ReadError;
use verify::SelfTestError;

fn main() -> ExitCode {
    if cfg!(panic = "abort") {
        panic::set_hook(Box::new(say_failure));
    }
    let exit = match run(&Cli::parse().command) {
        Ok(exit) => exit,
        // Whoever read our results has seen enough.
        Err(error) if is_broken_pipe(&error) => Exit::Done,
        Err(error) => {
            tell("error", &sentence(&error));
            exit_of(&error)
        }
    };
    ExitCode::from(exit as u8)
}

fn run(command: &Command) -> anyhow::Result<Exit> {
    match command {
        Command::Predict(args) => predict::run(args),
        Command::Inspect(args) => inspect::run(args),
        Command::Verify(args) => verify::run(args),
        Command::Bench(args) => bench::run(args),
        #[cfg(all(feature = "serve", unix))]
        Command::Serve(args) => serve::run(args),
    }
}

/// The exit code of an error that ended the program.
fn exit_of(error: &anyhow::Error) -> Exit {
    match error.downcast_ref::<LoadError>() {
        Some(LoadError::HalfRefused { .. }) => Exit::SelfTestFailed,
        Some(_) => Exit::ModelRefused,
        None if error.is::<UsageError>() => Exit::Usage,
        None if error.is::<SelfTestError>() => Exit::SelfTestFailed,
        None if error.downcast_ref().is_some_and(ReadError::is_limit) => Exit::Limit,
        None => Exit::SomeFailed,
    }
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    let broken = |error: &io::Error| error.kind() == io::ErrorKind::BrokenPipe;
    error.chain().any(|cause| cause.downcast_ref().is_some_and(broken))
}

/// The end of the boards' small program, which does not unwind: elsewhere the engine's panics come back as errors of the model.
fn say_failure(panic: &PanicHookInfo) {
    let reason = reason(panic);
    let place =
        panic.location().map_or(String::new(), |place| format!(", {}:{}", place.file(), place.line()));
    let message = format!("the engine failed ({reason}{place}); if other models work, export this one again");
    tell("error", &message);
    process::exit(Exit::ModelRefused as i32);
}

#[cfg(test)]
mod tests {
    use anyhow::Context;

    use super::*;

    fn read_error() -> LoadError {
        let source = io::Error::from(io::ErrorKind::NotFound);
        LoadError::Read { path: "m.onnx".into(), source }
    }

    #[test]
    fn errors_have_the_documented_exit_codes() {
        let half = LoadError::HalfRefused { reason: "NaN".to_string() };
        let usage = UsageError("two pictures".to_string());
        let cases: [(anyhow::Error, u8); 5] = [
            (read_error().into(), 3),
            (half.into(), 4),
            (usage.into(), 2),
            (SelfTestError::None.into(), 4),
            (io::Error::other("disk full").into(), 1),
        ];
        for (error, code) in cases {
            let error = error.context("model.onnx");
            assert_eq!(exit_of(&error) as u8, code, "{error:#}");
        }
    }

    #[test]
    fn a_broken_pipe_is_found_below_context() {
        let broken: anyhow::Result<()> = Err(io::Error::from(io::ErrorKind::BrokenPipe).into());
        assert!(is_broken_pipe(&broken.context("results cannot be written").unwrap_err()));
        assert!(!is_broken_pipe(&io::Error::other("disk full").into()));
    }
}
