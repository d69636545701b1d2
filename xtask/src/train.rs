//! `cargo xtask train-and-export`: from pictures to a model that the board's program has run.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result, bail};
use clap::Args;
use serde_json::Value;

use crate::process::{cargo, in_words, line, output, program, quoted, run};
use crate::weights::{Name, cached};

/// What `--quick` draws: enough for every stage, too little for good answers.
const QUICK_SYNTH: [&str; 6] = ["--train", "8", "--test", "4", "--side", "96"];
const QUICK_TRAIN: [&str; 6] = ["--epochs", "2", "--side", "96", "--batch", "16"];
const QUICK_EXPORT: [&str; 2] = ["--pictures", "20"];

/// Beside the drawn birds: the command that drew them.
const DRAWN_BY: &str = "drawn-by.txt";

/// What can be chosen; the trainer knows the defaults.
#[derive(Args)]
pub struct Options {
    /// Folder of pictures [default: drawn birds]
    #[arg(long)]
    data: Option<PathBuf>,
    /// Network below the class-aligned layer [default: the trainer's, by its weights]
    #[arg(long)]
    backbone: Option<String>,
    /// Train on DATA from random weights; else EfficientNet-Lite0's are fetched once, unless a backbone or
    /// `-- --weights FILE` is named
    #[arg(long)]
    scratch: bool,
    /// Folder for everything that is made; one that was used before is gone on with
    #[arg(long, default_value = "fieldmark-out")]
    out: PathBuf,
    /// Decides birds, weights, order and masks [default: the trainer's]
    #[arg(long)]
    seed: Option<u64>,
    /// Every stage in about a minute: few pictures, two epochs
    #[arg(long)]
    quick: bool,
    /// More for `fieldmark-trainer train`
    #[arg(last = true)]
    extra: Vec<OsString>,
}

/// Trains, measures, reports, exports, and runs the board's program on the result.
///
/// # Errors
/// The stage that failed.
pub fn train_and_export(options: &Options) -> Result<()> {
    let started = Instant::now();
    let Programs { trainer, board } = build()?;
    let data = match &options.data {
        Some(data) => data.clone(),
        None => birds(&trainer, options)?,
    };
    let [run_folder, model, overlay] = ["run", "model.onnx", "overlay"].map(|name| options.out.join(name));
    let mut train = train(&trainer, options, &data);
    if wants_weights(options) {
        train.arg("--weights").arg(cached(Name::EfficientnetLite0)?);
    }
    run(train.arg("--out").arg(&run_folder).args(&options.extra))?;
    run(Command::new(&trainer).arg("eval").arg(&run_folder).arg("--data").arg(&data))?;
    run(Command::new(&trainer).arg("report").arg(&run_folder).arg("--data").arg(&data))?;
    run(&mut export(&trainer, options, [&run_folder, &data], &model))?;
    run(Command::new(&board).arg("verify").arg(&model))?;
    let picture = example(&run_folder.join("eval.json"))?;
    let mut predict = Command::new(&board);
    predict.arg("predict").args([&model, &picture]);
    run(predict.args(["--cues", "--overlay"]).arg(&overlay))?;
    println!("\n{} works; making it took {}. Next:", model.display(), in_words(started.elapsed()));
    for line in next_lines(&board, &model, &overlay) {
        println!("  {line}");
    }
    Ok(())
}

/// Whether photos are trained on from published weights: drawn birds and named networks are not.
fn wants_weights(options: &Options) -> bool {
    let names_some = options.extra.iter().any(|word| word == "--weights" || word == "--backbone");
    options.data.is_some() && options.backbone.is_none() && !options.scratch && !options.quick && !names_some
}

/// Where cargo put the two programs.
pub struct Programs {
    /// `fieldmark-trainer`.
    pub trainer: PathBuf,
    /// `fieldmark`.
    pub board: PathBuf,
}

/// Builds both programs in one go, and asks cargo where it put them.
///
/// # Errors
/// They do not build.
pub fn build() -> Result<Programs> {
    let mut build = cargo();
    // Of the whole workspace: of some packages cargo would resolve other features, and compile tract again.
    build.args(["build", "--workspace", "--bin", "fieldmark-trainer", "--bin", "fieldmark"]);
    eprintln!("$ {}", line(&build));
    let artefacts = output(build.args(["--message-format", "json-render-diagnostics"]))?;
    let program = |name| program(&artefacts, name);
    Ok(Programs { trainer: program("fieldmark-trainer")?, board: program("fieldmark")? })
}

/// Draws the birds, unless an earlier run has: under another name first, so that the folder is whole or absent.
fn birds(trainer: &Path, options: &Options) -> Result<PathBuf> {
    let [whole, unfinished] = ["birds", "birds.unfinished"].map(|name| options.out.join(name));
    let mut synth = Command::new(trainer);
    synth.arg("synth").args(quick(options, &QUICK_SYNTH)).args(seed(options));
    let wanted = line(&synth);
    if whole.exists() {
        refuse_other_birds(&whole, &wanted)?;
        return Ok(whole);
    }
    if unfinished.exists() {
        fs::remove_dir_all(&unfinished).with_context(|| format!("cannot remove {}", unfinished.display()))?;
    }
    run(synth.arg(&unfinished))?;
    fs::write(unfinished.join(DRAWN_BY), wanted)
        .and_then(|()| fs::rename(&unfinished, &whole))
        .with_context(|| format!("cannot finish {}", whole.display()))?;
    Ok(whole)
}

/// Birds without a note of how they were drawn are somebody's own, and taken as they are.
fn refuse_other_birds(birds: &Path, wanted: &str) -> Result<()> {
    match fs::read_to_string(birds.join(DRAWN_BY)) {
        Ok(drawn_by) if drawn_by != wanted => bail!(
            "{} was drawn by `{drawn_by}`, now `{wanted}` is asked for; choose another --out or remove it",
            birds.display()
        ),
        _ => Ok(()),
    }
}

fn train(trainer: &Path, options: &Options, data: &Path) -> Command {
    let mut train = Command::new(trainer);
    train.arg("train").arg(data);
    if let Some(backbone) = &options.backbone {
        train.args(["--backbone", backbone]);
    }
    train.args(seed(options)).args(quick(options, &QUICK_TRAIN));
    train
}

fn export(trainer: &Path, options: &Options, [run_folder, data]: [&Path; 2], model: &Path) -> Command {
    let mut export = Command::new(trainer);
    export.arg("export").arg(run_folder).arg("--data").arg(data).arg("--out").arg(model);
    export.args(quick(options, &QUICK_EXPORT));
    export
}

fn quick(options: &Options, words: &'static [&'static str]) -> &'static [&'static str] {
    if options.quick { words } else { &[] }
}

fn seed(options: &Options) -> Vec<String> {
    options.seed.map_or(Vec::new(), |seed| vec!["--seed".to_owned(), seed.to_string()])
}

/// The test picture that `eval` chose to show.
fn example(report: &Path) -> Result<PathBuf> {
    let json = fs::read_to_string(report).with_context(|| format!("cannot read {}", report.display()))?;
    let evaluation: Value =
        serde_json::from_str(&json).with_context(|| format!("{} is not JSON", report.display()))?;
    let picture = evaluation["example"].as_str().map(PathBuf::from);
    picture.with_context(|| format!("{} has no \"example\"", report.display()))
}

/// What to type now, as a shell takes it.
fn next_lines(board: &Path, model: &Path, overlay: &Path) -> [String; 4] {
    let here = env::current_dir().unwrap_or_default();
    let board = quoted(board.strip_prefix(here).unwrap_or(board));
    let [model, overlay] = [model, overlay].map(quoted);
    [
        format!("{board} predict {model} MY_PICTURE.jpg --cues --overlay {overlay}"),
        format!("{board} inspect {model}"),
        format!("{board} verify {model}"),
        format!("cargo xtask check-onnx {model}"),
    ]
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Cli {
        #[command(flatten)]
        options: Options,
    }

    fn options(words: &str) -> Options {
        Cli::parse_from(["xtask"].into_iter().chain(words.split_whitespace())).options
    }

    #[test]
    fn without_choices_the_trainer_keeps_its_defaults() {
        let train = train(Path::new("trainer"), &options(""), Path::new("birds"));
        assert_eq!(line(&train), "trainer train birds");
    }

    #[test]
    fn choices_reach_the_trainer() {
        let options = options("--backbone resnet18 --seed 3 --quick -- --xi 2 -- x");
        let train = train(Path::new("trainer"), &options, Path::new("my birds"));
        let expected = "trainer train 'my birds' --backbone resnet18 --seed 3 --epochs 2";
        assert!(line(&train).starts_with(expected), "{}", line(&train));
        assert_eq!(options.extra, ["--xi", "2", "--", "x"]);
    }

    #[test]
    fn photos_are_trained_on_from_published_weights_unless_told_otherwise() {
        for (words, wants) in [
            ("--data photos", true),
            ("", false),
            ("--data photos --scratch", false),
            ("--data photos --quick", false),
            ("--data photos --backbone resnet18", false),
            ("--data photos -- --weights own.pth", false),
            ("--data photos -- --epochs 3", true),
        ] {
            assert_eq!(wants_weights(&options(words)), wants, "{words}");
        }
    }

    #[test]
    fn what_to_type_next_survives_a_shell() {
        let board = env::current_dir().unwrap().join("target/debug/fieldmark");
        let [predict, inspect, ..] = next_lines(&board, Path::new("my out/model.onnx"), Path::new("o"));
        let expected = "target/debug/fieldmark predict 'my out/model.onnx' MY_PICTURE.jpg --cues --overlay o";
        assert_eq!(predict, expected);
        assert_eq!(inspect, "target/debug/fieldmark inspect 'my out/model.onnx'");
    }
}
