//! What `make` can be told: its own options, and those of `train`.

use std::ffi::{OsStr, OsString};
use std::path::PathBuf;

use clap::parser::ValueSource;
use clap::{Arg, ArgMatches, Args, FromArgMatches};

use super::TrainArgs;

/// `make`; the options that are not its own are those of `train`.
#[derive(Args)]
pub struct MakeArgs {
    /// Folder of pictures, or a CSV list of them [default: drawn birds]
    pub data: Option<PathBuf>,
    /// The same as [DATA]
    #[arg(long = "data", value_name = "DATA", conflicts_with = "data")]
    pub named: Option<PathBuf>,
    /// Folder for everything that is made; an unfinished run there is resumed
    #[arg(long, value_name = "DIR", default_value = "fieldmark-out")]
    pub out: PathBuf,
    /// Train on DATA from random weights; otherwise EfficientNet-Lite0's pretrained weights are fetched once, unless
    /// other weights, a backbone, a configuration or a recipe from random weights is chosen
    #[arg(long, conflicts_with = "weights")]
    pub scratch: bool,
    /// Do every stage in about a minute: few pictures, two epochs, whatever a configuration says
    #[arg(long)]
    pub quick: bool,
    /// Export a model although it may be no better than always naming one class; the file says so. `--quick` does so, too
    #[arg(long)]
    pub anyway: bool,
    /// For training.
    #[command(flatten)]
    pub typed: TrainOptions,
}

/// The options of `train` that were typed, with their values; a flag has none.
#[derive(Clone, Debug, Default)]
pub struct TrainOptions(Vec<(String, Option<OsString>)>);

/// All that `train` takes, but where its pictures are and where its run goes.
fn train_options() -> Vec<Arg> {
    let train = TrainArgs::augment_args(clap::Command::new("train"));
    let is_option = |arg: &&Arg| arg.get_long().is_some_and(|name| name != "out");
    train.get_arguments().filter(is_option).cloned().collect()
}

impl Args for TrainOptions {
    fn augment_args(command: clap::Command) -> clap::Command {
        command.args(train_options())
    }

    fn augment_args_for_update(command: clap::Command) -> clap::Command {
        TrainOptions::augment_args(command)
    }
}

impl FromArgMatches for TrainOptions {
    fn from_arg_matches(matches: &ArgMatches) -> Result<TrainOptions, clap::Error> {
        let mut typed = Vec::new();
        for arg in train_options() {
            let (id, name) = (arg.get_id().as_str(), arg.get_long().unwrap_or_default());
            match matches.get_raw(id) {
                _ if matches.value_source(id) != Some(ValueSource::CommandLine) => {}
                Some(values) if arg.get_action().takes_values() => {
                    typed.extend(values.map(|value| (name.to_owned(), Some(value.to_owned()))));
                }
                _ => typed.push((name.to_owned(), None)),
            }
        }
        Ok(TrainOptions(typed))
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = TrainOptions::from_arg_matches(matches)?;
        Ok(())
    }
}

impl TrainOptions {
    /// Whether it was typed.
    pub fn has(&self, name: &str) -> bool {
        self.0.iter().any(|(typed, _)| typed == name)
    }

    /// The value that was typed.
    pub fn value(&self, name: &str) -> Option<&OsStr> {
        self.0.iter().find(|(typed, _)| typed == name)?.1.as_deref()
    }

    /// All of them as words, or the one called so.
    pub fn words(&self, name: Option<&str>) -> Vec<OsString> {
        let is_meant = |typed: &str| name.is_none_or(|name| name == typed);
        let options = self.0.iter().filter(|(typed, _)| is_meant(typed));
        options.flat_map(|(name, value)| words_of(name, value.as_deref())).collect()
    }
}

/// An option as it is typed: in one word where its value would be taken for an option.
pub fn words_of(name: &str, value: Option<&OsStr>) -> Vec<OsString> {
    let mut word = OsString::from(format!("--{name}"));
    match value {
        None => vec![word],
        Some(value) if value.to_string_lossy().starts_with('-') => {
            word.push("=");
            word.push(value);
            vec![word]
        }
        Some(value) => vec![word, value.to_owned()],
    }
}
