//! What can be typed.

mod deploy;
mod fetch;
mod make;
mod settings;
mod train;

use std::num::NonZeroUsize;
use std::path::PathBuf;

use clap::{Args, CommandFactory, FromArgMatches, Parser, Subcommand, value_parser};
use fieldmark_trainer::data::synth::SynthConfig;
use fieldmark_trainer::net::backbone::{Backbone, Convention};
use fieldmark_trainer::net::device::{Kind, Precision};
use fieldmark_trainer::publish::export::WeightType;

pub use deploy::DeployArgs;
pub use fetch::{FetchArgs, Name, Whose};
pub use make::{MakeArgs, words_of};
pub use settings::{option, table};
pub use train::{SplitArgs, TrainArgs};

/// Trains classifiers for look-alikes with MC-Loss and exports them for the board.
#[derive(Parser)]
#[command(version, about)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The program's verbs.
#[derive(Subcommand)]
pub enum Command {
    /// Draw a data set of birds with known field marks, in the layout of CUB-200-2011
    Synth(SynthArgs),
    /// Report suspicious pictures and classes of a data set; changes nothing
    Lint(LintArgs),
    /// Train on a folder of class folders or of split folders, a CSV list, or a published data set's own layout
    Train(Box<TrainArgs>),
    /// Print the settings of all recipes as a table
    Recipes,
    /// Measure a run on its test split
    Eval(EvalArgs),
    /// Choose the score that recognises unknown classes, by training again without some of the known ones
    Unknown(UnknownArgs),
    /// Write the board's model file, after checking that the board's engine and the trainer agree
    Export(ExportArgs),
    /// Write a run's report as one HTML file
    Report(ReportArgs),
    /// Convert pretrained weights to one safetensors file that names their backbone, source and licence
    Convert(ConvertArgs),
    /// Train, measure, report and export in one go, and run the model; without DATA on drawn birds
    Make(Box<MakeArgs>),
    /// Fetch published weights of a backbone, once, and print where they are
    Fetch(FetchArgs),
    /// Copy the board's program and models to a board through ssh; they are tried there before they replace anything
    Deploy(DeployArgs),
}

/// The command line with each recipe's settings in the help of `train`.
pub fn command() -> clap::Command {
    ["train", "make", "lint"]
        .into_iter()
        .fold(Cli::command(), |command, name| command.mut_subcommand(name, settings::with_defaults))
        .mut_subcommand("train", train::tied_to_weights)
}

/// What was typed. Anything else than a command ends the program, as help does.
pub fn parse() -> Cli {
    Cli::from_arg_matches(&command().get_matches()).unwrap_or_else(|error| error.exit())
}

/// What `--threads` takes.
fn threads(text: &str) -> Result<NonZeroUsize, String> {
    text.parse().map_err(|_| {
        "expected a whole number from 1; leave the option out for one thread per core".to_owned()
    })
}

/// `synth`.
#[derive(Args)]
pub struct SynthArgs {
    /// Folder to create; it must not exist or be empty
    pub out: PathBuf,
    /// Plant marks on the photos in this folder and those below it, instead of drawing birds
    #[arg(long, value_name = "PHOTOS")]
    pub on: Option<PathBuf>,
    /// Number of species or of planted marks, even [default: all: 16 species, 12 marks]
    #[arg(long)]
    pub classes: Option<usize>,
    /// Training pictures per class
    #[arg(long, default_value_t = SynthConfig::default().per_class_train)]
    pub train: usize,
    /// Test pictures per class
    #[arg(long, default_value_t = SynthConfig::default().per_class_test)]
    pub test: usize,
    /// Side of a picture in pixels [default: 160, of photos 224]
    #[arg(long)]
    pub side: Option<u32>,
    /// Seed of all pictures
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
}

/// `lint`.
#[derive(Args)]
pub struct LintArgs {
    /// Folder of pictures, or a CSV list of them
    pub data: PathBuf,
    /// Write all findings as JSON into this file
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// Exit with code 1 if a finding is more than a note
    #[arg(long)]
    pub strict: bool,
    /// Number of threads; the result does not depend on it [default: one per core]
    #[arg(long, value_parser = threads)]
    pub threads: Option<NonZeroUsize>,
    /// Seed of the split, as in `train`
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
    /// What is held out
    #[command(flatten)]
    pub split: SplitArgs,
}

/// `eval`.
#[derive(Args)]
pub struct EvalArgs {
    /// Folder of a run
    pub run: PathBuf,
    /// Where the run's pictures are now, if they have moved
    #[arg(long)]
    pub data: Option<PathBuf>,
    /// Measure on other labelled pictures instead of the test split: a folder with class folders, or a CSV list; the run's
    /// eval.json stays as it is
    #[arg(long, value_name = "PICTURES")]
    pub on: Option<PathBuf>,
    /// Write a CSV file with a row per picture: label, answer, and the probability of every class
    #[arg(long, value_name = "FILE")]
    pub predictions: Option<PathBuf>,
    /// Use the weights of the last epoch instead of the best
    #[arg(long)]
    pub last: bool,
    /// Where the network computes
    #[arg(long, value_enum, default_value_t)]
    pub device: Kind,
    /// Number format of the maps between layers; the board computes in f32
    #[arg(long, value_enum, default_value_t)]
    pub precision: Precision,
    /// Also measure whether the answers depend on what the cues show: some hundred passes per picture
    #[arg(long)]
    pub faithfulness: bool,
    /// Number of pictures for `--faithfulness`
    #[arg(long, default_value_t = NonZeroUsize::new(200).expect("not zero"), requires = "faithfulness")]
    pub pictures: NonZeroUsize,
}

/// `unknown`.
#[derive(Args)]
pub struct UnknownArgs {
    /// Folder of a run; the new trainings are saved in its folder `unknown`, and unfinished ones there are resumed
    pub run: PathBuf,
    /// Where the run's pictures are now, if they have moved
    #[arg(long)]
    pub data: Option<PathBuf>,
    /// Number of trainings, each without other classes
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = value_parser!(u16).range(1..))]
    pub runs: u16,
    /// Share of the classes that each training leaves out, above 0 and below 1
    #[arg(long, default_value_t = 0.2)]
    pub share: f64,
    /// The pretrained weights that the run started from, if any
    #[arg(long, value_name = "FILE")]
    pub weights: Option<PathBuf>,
    /// Number of threads; the result does not depend on it [default: one per core]
    #[arg(long, value_parser = threads)]
    pub threads: Option<NonZeroUsize>,
    /// Where the network computes
    #[arg(long, value_enum, default_value_t)]
    pub device: Kind,
}

/// `export`.
#[derive(Args)]
pub struct ExportArgs {
    /// Folder of a run
    pub run: PathBuf,
    /// The model file to write
    #[arg(long, value_name = "FILE")]
    pub out: PathBuf,
    /// Where the run's pictures are now, if they have moved
    #[arg(long)]
    pub data: Option<PathBuf>,
    /// Use the weights of the last epoch instead of the best
    #[arg(long)]
    pub last: bool,
    /// Number format in which the file stores weights
    #[arg(long, value_enum, default_value_t)]
    pub precision: WeightType,
    /// Number of pictures on which the board's engine and the trainer must agree
    #[arg(long, default_value_t = 200)]
    pub pictures: usize,
    /// Export a model although it may be no better than always naming one class; the file says so
    #[arg(long)]
    pub anyway: bool,
}

/// `report`.
#[derive(Args)]
pub struct ReportArgs {
    /// Folder of a run
    pub run: PathBuf,
    /// Where the run's pictures are now, if they have moved
    #[arg(long)]
    pub data: Option<PathBuf>,
    /// The file to write [default: report.html in RUN]
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
    /// The model file that was exported from the run, for the report to name it
    #[arg(long, value_name = "FILE")]
    pub model: Option<PathBuf>,
    /// Use the weights of the last epoch instead of the best
    #[arg(long)]
    pub last: bool,
    /// Where the network computes
    #[arg(long, value_enum, default_value_t)]
    pub device: Kind,
    /// Write the curves for TensorBoard into this folder instead of a report
    #[arg(long, value_name = "DIR", conflicts_with_all = ["out", "model", "data", "last", "device"])]
    pub tensorboard: Option<PathBuf>,
}

/// `convert`.
#[derive(Args)]
pub struct ConvertArgs {
    /// Safetensors, ONNX with weights inside, or what torch.save writes
    pub file: PathBuf,
    /// The network that they are of
    #[arg(long, value_enum)]
    pub backbone: Backbone,
    /// Normalisation and padding that they expect, if the file does not say
    #[arg(long, value_enum)]
    pub convention: Option<Convention>,
    /// Where they come from
    #[arg(long, default_value = "")]
    pub source: String,
    /// Their licence
    #[arg(long, default_value = "")]
    pub licence: String,
    /// The file to write
    #[arg(long, value_name = "FILE")]
    pub out: PathBuf,
}

#[cfg(test)]
mod tests {
    use clap::ValueEnum;
    use fieldmark_trainer::net::network::Norms;
    use fieldmark_trainer::net::weights::Misfit;
    use fieldmark_trainer::run::recipe::Recipe;
    use serde::Serialize;
    use serde::de::DeserializeOwned;

    use super::*;

    fn typed<T: ValueEnum>() -> Vec<String> {
        let value = |value: &T| value.to_possible_value().map(|value| value.get_name().to_owned());
        T::value_variants().iter().filter_map(value).collect()
    }

    fn written<T: ValueEnum + Serialize>() -> Vec<String> {
        let value = |value: &T| serde_json::to_value(value).unwrap().as_str().unwrap().to_owned();
        T::value_variants().iter().map(value).collect()
    }

    #[test]
    fn what_is_typed_is_what_files_say() {
        assert_eq!(typed::<Backbone>(), written::<Backbone>());
        assert_eq!(typed::<Backbone>(), Backbone::ALL.map(|backbone| backbone.name().to_owned()));
        assert_eq!(typed::<Convention>(), written::<Convention>());
        assert_eq!(typed::<Misfit>(), written::<Misfit>());
        assert_eq!(typed::<Misfit>(), Misfit::ALL.map(|kind| kind.name().to_owned()));
        assert_eq!(typed::<Norms>(), written::<Norms>());
        assert_eq!(typed::<Precision>(), written::<Precision>());
        assert_eq!(typed::<Recipe>(), Recipe::ALL.map(|recipe| recipe.name().to_owned()));
        for recipe in Recipe::ALL {
            assert_eq!(read::<Recipe>(recipe.name()), recipe);
        }
    }

    fn read<T: DeserializeOwned>(name: &str) -> T {
        serde_json::from_value(name.into()).unwrap()
    }

    #[test]
    fn no_thread_at_all_is_refused_with_what_to_type() {
        for line in
            ["lint d --threads 0", "unknown r --threads 0", "train d --out r --threads 0", "make --threads 0"]
        {
            let words = ["fieldmark-trainer"].into_iter().chain(line.split(' '));
            let error = command().try_get_matches_from(words).unwrap_err().to_string();
            assert!(error.contains("leave the option out for one thread per core"), "{line}: {error}");
        }
    }

    #[test]
    fn the_command_line_contradicts_itself_nowhere() {
        command().debug_assert();
    }
}
