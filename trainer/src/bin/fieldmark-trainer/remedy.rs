//! Which options an error is about: the library knows none, so that the program says them after its message.

use std::error::Error;
use std::io::ErrorKind;

use clap::Command;
use fieldmark_trainer::data::lint::Kind;
use fieldmark_trainer::measure::answers::AnswerError;
use fieldmark_trainer::measure::eval::EvalError;
use fieldmark_trainer::measure::unknown::LeaveOutError;
use fieldmark_trainer::net::device::{DeviceError, Fault};
use fieldmark_trainer::net::weights::WeightsError;
use fieldmark_trainer::publish::export::{Disagreement, ExportError};
use fieldmark_trainer::publish::report::ReportError;
use fieldmark_trainer::run::checkpoint::CheckpointError;
use fieldmark_trainer::run::config::ConfigError;
use fieldmark_trainer::run::error::FolderError;
use fieldmark_trainer::training::memory::MemoryError;
use fieldmark_trainer::training::train::TrainError;

use crate::args::{command, option};

/// The options that do what the advice to a finding of `lint` says, in brackets after a space; nothing where there are none.
pub fn of_finding(kind: Kind) -> String {
    let options = finding_options(kind);
    if options.is_empty() { String::new() } else { format!(" ({})", options.join(", ")) }
}

fn finding_options(kind: Kind) -> &'static [&'static str] {
    match kind {
        Kind::SourcesAcrossSplits | Kind::AlikeAcrossSplits | Kind::Grouping => &["train --group-by"],
        Kind::OneClass | Kind::Imbalance => &["train --balanced"],
        Kind::Elongated => &["train --resize pad"],
        _ => &[],
    }
}

/// The options of `subcommand` that change what `error` complains of, in brackets after a space; nothing where there are none.
pub fn remedy(error: &anyhow::Error, subcommand: &str) -> String {
    let command = command();
    let known = command.find_subcommand(subcommand);
    // What begins otherwise is another command's.
    let is_there = |option: &String| {
        let name = option.strip_prefix("--").and_then(|option| option.split(' ').next());
        name.is_none_or(|name| known.is_some_and(|known| has_option(known, name)))
    };
    let options: Vec<String> = error.chain().flat_map(options).filter(is_there).collect();
    if options.is_empty() { String::new() } else { format!(" ({})", options.join(", ")) }
}

fn has_option(command: &Command, name: &str) -> bool {
    command.get_arguments().any(|arg| arg.get_long() == Some(name))
}

fn options(cause: &(dyn Error + 'static)) -> Vec<String> {
    if let Some(error) = cause.downcast_ref::<ConfigError>() {
        option(error.what).map(|name| format!("--{name}")).into_iter().collect()
    } else if let Some(error) = cause.downcast_ref::<TrainError>() {
        of_training(error)
    } else if let Some(error) = cause.downcast_ref::<FolderError>() {
        of_run(error)
    } else if let Some(error) = cause.downcast_ref::<CheckpointError>() {
        of_checkpoint(error)
    } else if let Some(error) = cause.downcast_ref::<WeightsError>() {
        of_weights(error)
    } else if let Some(error) = cause.downcast_ref::<DeviceError>() {
        of_device(error)
    } else if let Some(error) = cause.downcast_ref::<Fault>() {
        of_fault(error)
    } else if cause.is::<MemoryError>() {
        words(&["--batch", "--side"])
    } else if let Some(error) = cause.downcast_ref::<EvalError>() {
        match error {
            EvalError::NoTest { .. } => words(&["train --test SHARE"]),
            EvalError::Answer(error) => options(error),
            _ => Vec::new(),
        }
    } else if let Some(AnswerError::Gpu(error)) = cause.downcast_ref() {
        of_fault(error)
    } else if let Some(ReportError::Answer(error)) = cause.downcast_ref() {
        options(error)
    } else if let Some(LeaveOutError::Share { .. }) = cause.downcast_ref() {
        words(&["--share"])
    } else if let Some(
        ExportError::Overflow { .. } | ExportError::Disagreement(Disagreement::Rounding { .. }),
    ) = cause.downcast_ref()
    {
        words(&["--precision f32"])
    } else if let Some(ExportError::NoUse(_)) = cause.downcast_ref() {
        words(&["--anyway"])
    } else {
        Vec::new()
    }
}

fn words(options: &[&str]) -> Vec<String> {
    options.iter().map(ToString::to_string).collect()
}

fn of_training(error: &TrainError) -> Vec<String> {
    match error {
        TrainError::Config(error) => options(error),
        TrainError::Run(error) => of_run(error),
        TrainError::Checkpoint(error) => of_checkpoint(error),
        TrainError::Memory(error) => options(error),
        TrainError::Gpu(error) => of_fault(error),
        TrainError::NoEpoch => words(&["--epochs"]),
        TrainError::EmptySplit { split: "validation" } => words(&["--validation"]),
        TrainError::Diverged { .. } => words(&["--rate"]),
        _ => Vec::new(),
    }
}

fn of_run(error: &FolderError) -> Vec<String> {
    match error {
        FolderError::OtherRun { .. }
        | FolderError::Taken { .. }
        | FolderError::AmongPictures { .. }
        | FolderError::Busy { .. } => words(&["--out"]),
        FolderError::OtherPictures { .. } => words(&["--data"]),
        FolderError::File { act: "write", source, .. } => of_writing(source),
        FolderError::Checkpoint(error) => of_checkpoint(error),
        _ => Vec::new(),
    }
}

fn of_checkpoint(error: &CheckpointError) -> Vec<String> {
    match error {
        CheckpointError::File { act: "write", source, .. } => of_writing(source),
        _ => Vec::new(),
    }
}

fn of_writing(error: &std::io::Error) -> Vec<String> {
    match error.kind() {
        ErrorKind::ReadOnlyFilesystem | ErrorKind::PermissionDenied => words(&["--out"]),
        _ => Vec::new(),
    }
}

fn of_weights(error: &WeightsError) -> Vec<String> {
    match error {
        WeightsError::Foreign { .. } => words(&["--backbone"]),
        WeightsError::OtherBackbone { actual, .. } => vec![format!("--backbone {actual}")],
        WeightsError::Convention { .. } => words(&["--convention"]),
        WeightsError::Misfit { kind, .. } => vec![format!("--allow {}", kind.name())],
        WeightsError::NotGiven { .. } | WeightsError::OtherFile { .. } => words(&["--weights"]),
        _ => Vec::new(),
    }
}

fn of_device(error: &DeviceError) -> Vec<String> {
    match error {
        DeviceError::NotBuilt => words(&["--device cpu"]),
        DeviceError::HalfOnCpu => words(&["--device cuda", "--precision f32"]),
        _ => Vec::new(),
    }
}

fn of_fault(error: &Fault) -> Vec<String> {
    match error {
        Fault::Memory { .. } => words(&["--batch", "--side", "--out"]),
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use fieldmark_trainer::net::backbone::Backbone;
    use fieldmark_trainer::net::weights::Misfit;

    use super::*;
    use crate::args::command;

    fn refused() -> std::io::Error {
        ErrorKind::PermissionDenied.into()
    }

    /// One of each kind that an option mends, and the option.
    fn errors() -> Vec<(anyhow::Error, &'static str)> {
        let path = PathBuf::new;
        let reason = String::new;
        let config = || ConfigError { what: "optim.rate", expected: reason(), actual: reason() };
        let written = || CheckpointError::File { act: "write", path: path(), source: refused() };
        let run = |error: FolderError| anyhow::Error::from(error);
        vec![
            (config().into(), "--rate"),
            (TrainError::Config(config()).into(), "--rate"),
            (TrainError::Run(FolderError::Busy { path: path() }).into(), "--out"),
            (TrainError::Checkpoint(written()).into(), "--out"),
            (TrainError::NoEpoch.into(), "--epochs"),
            (TrainError::EmptySplit { split: "validation" }.into(), "--validation"),
            (TrainError::Diverged { term: "", value: 0.0, step: 0, rate: 0.0 }.into(), "--rate"),
            (
                TrainError::Memory(MemoryError { batch: 1, side: 1, needed: 1, available: 0 }).into(),
                "--batch",
            ),
            (TrainError::Gpu(Fault::Memory { reason: reason() }).into(), "--side"),
            (run(FolderError::OtherRun { path: path(), what: "settings".into() }), "--out"),
            (run(FolderError::Taken { path: path(), file: path() }), "--out"),
            (run(FolderError::AmongPictures { path: path() }), "--out"),
            (run(FolderError::File { act: "write", path: path(), source: refused() }), "--out"),
            (
                run(FolderError::OtherPictures { path: path(), expected: reason(), actual: reason() }),
                "--data",
            ),
            (
                WeightsError::Foreign { path: path(), backbone: Backbone::Tiny, tensors: 1, first: reason() }
                    .into(),
                "--backbone",
            ),
            (
                WeightsError::OtherBackbone {
                    path: path(),
                    expected: Backbone::Tiny,
                    actual: Backbone::Vgg16,
                }
                .into(),
                "--backbone vgg16",
            ),
            (WeightsError::Convention { path: path() }.into(), "--convention"),
            (
                WeightsError::Misfit { path: path(), kind: Misfit::Missing, names: vec![] }.into(),
                "--allow missing",
            ),
            (WeightsError::NotGiven { source_of: reason(), sha256: reason() }.into(), "--weights"),
            (
                WeightsError::OtherFile { path: path(), expected: reason(), actual: reason() }.into(),
                "--weights",
            ),
            (DeviceError::NotBuilt.into(), "--device cpu"),
            (DeviceError::HalfOnCpu.into(), "--precision f32"),
            (EvalError::NoTest { folder: path() }.into(), "train --test SHARE"),
            (LeaveOutError::Share { share: 2.0 }.into(), "--share"),
            (ExportError::Overflow { name: reason(), value: 1e9 }.into(), "--precision f32"),
            (
                ExportError::Disagreement(Disagreement::Rounding { pictures: 1, changed: 1 }).into(),
                "--precision f32",
            ),
        ]
    }

    #[test]
    fn an_error_that_an_option_mends_names_it_where_the_subcommand_has_it() {
        let command = command();
        for (error, expected) in errors() {
            let with = |subcommand: &Command| remedy(&error, subcommand.get_name()).contains(expected);
            assert!(command.get_subcommands().any(with), "{error}: nowhere {expected}");
            for subcommand in command.get_subcommands() {
                let said = remedy(&error, subcommand.get_name());
                let said = said.replace("train --", "");
                for option in said.split(['(', ')', ',', ' ']).filter_map(|word| word.strip_prefix("--")) {
                    assert!(has_option(subcommand, option), "{} has no --{option}", subcommand.get_name());
                }
            }
        }
    }

    #[test]
    fn the_library_itself_names_no_option() {
        for (error, _) in errors() {
            let said = format!("{error:#}");
            assert!(!said.contains("--") && !said.contains("xtask"), "{said}");
        }
    }

    #[test]
    fn a_finding_that_an_option_of_training_mends_names_it() {
        let command = command();
        let train = command.find_subcommand("train").unwrap();
        for kind in [
            Kind::SourcesAcrossSplits,
            Kind::AlikeAcrossSplits,
            Kind::Grouping,
            Kind::OneClass,
            Kind::Imbalance,
            Kind::Elongated,
        ] {
            let said = of_finding(kind);
            let option = said.strip_prefix(" (train --").unwrap().split([')', ' ']).next().unwrap();
            assert!(has_option(train, option), "train has no --{option}");
        }
        assert_eq!(of_finding(Kind::Blank), "");
    }

    #[test]
    fn weights_of_no_known_source_are_told_by_their_hash_alone() {
        let said = |source_of: &str| {
            WeightsError::NotGiven { source_of: source_of.into(), sha256: "abc".into() }.to_string()
        };
        assert!(said("").contains("pretrained weights (SHA-256 abc);"), "{}", said(""));
        assert!(said("timm").contains("pretrained weights (timm, SHA-256 abc);"), "{}", said("timm"));
    }

    #[test]
    fn an_error_of_something_else_names_no_option() {
        assert_eq!(remedy(&anyhow::anyhow!("the disk is gone"), "train"), "");
        assert_eq!(remedy(&TrainError::EmptySplit { split: "train" }.into(), "train"), "");
    }
}
