//! `fieldmark-trainer make`: from pictures to a model that the board's engine has run.
//!
//! Each stage is a subcommand: its line is printed as a person would type it, and the same words are what it gets.

use std::env;
use std::ffi::{OsStr, OsString};
use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result, bail, ensure};
use clap::Args;
use fieldmark_programs::process::{in_words, line, on_path, quoted, run as start};

use fieldmark_trainer::data::dataset::{GroupBy, SplitRule};
use fieldmark_trainer::run::folder::REPORT;

use crate::args::{
    EvalArgs, ExportArgs, LintArgs, MakeArgs, Name, ReportArgs, SynthArgs, TrainArgs, command, words_of,
};
use crate::fetch::cached;
use crate::{eval, export, lint, progress, report, say, self_test, stop, synth, train};

/// What `--quick` draws: enough for every stage, too little for good answers.
const QUICK_SYNTH: [&str; 6] = ["--train", "8", "--test", "4", "--side", "96"];
/// What `--quick` trains with, where nothing else is typed.
const QUICK_TRAIN: [(&str, &str); 3] = [("epochs", "2"), ("side", "96"), ("batch", "16")];
const QUICK_EXPORT: [&str; 2] = ["--pictures", "20"];

/// Beside the drawn birds: the command that drew them.
const DRAWN_BY: &str = "drawn-by.txt";

/// Runs the subcommand.
///
/// # Errors
/// The stage that failed.
pub fn run(args: &MakeArgs) -> Result<()> {
    let started = Instant::now();
    // Before the first stage that works in threads.
    let threads = args.typed.value("threads").map(|threads| threads.to_string_lossy().parse());
    progress::use_threads(threads.transpose().context("--threads")?)?;
    let out = plain(&args.out);
    let data = match args.data() {
        Some(data) => {
            ensure!(
                data.exists(),
                "{} does not exist; name a folder of pictures or a CSV list",
                data.display()
            );
            plain(data)
        }
        None => birds(args, &out)?,
    };
    let [run, model, overlay] = ["run", "model.onnx", "overlay"].map(|name| out.join(name));
    let train_words = args.train_words(&data, &run)?;
    if args.data().is_some() {
        let rule = parsed::<TrainArgs>("train", &train_words)?.settings()?.split;
        lint::run(&stage::<LintArgs>("lint", &lint_words(&data, &rule))?)?;
    }
    train::run(&stage::<TrainArgs>("train", &train_words)?)?;
    stop::at_once()?;
    let example = eval::on_test_split(&stage::<EvalArgs>("eval", &args.measure_words(&data, &run))?)?.example;
    let exported = export::run(&stage::<ExportArgs>("export", &args.export_words(&data, &run, &model))?);
    let mut report_words = args.measure_words(&data, &run);
    if exported.is_ok() {
        report_words.extend(words_of("model", Some(model.as_os_str())));
    }
    // Also of a model that is refused: it says what would make a better one.
    report::run(&stage::<ReportArgs>("report", &report_words)?)?;
    exported?;
    let tests = self_test::passed(&model)?.cases.len();
    say::result(&format!("{}: {tests} of {tests} self-tests passed on this machine", model.display()));
    let board = board();
    if let Some(board) = &board {
        start(Command::new(board).arg("verify").arg(&model))?;
        let mut predict = Command::new(board);
        predict.arg("predict").args([&model, &example]);
        start(predict.args(["--cues", "--overlay"]).arg(&overlay))?;
    }
    say::result(&format!(
        "\n{} works; making it took {}. Its report is {}. Next:",
        model.display(),
        in_words(started.elapsed()),
        run.join(REPORT).display()
    ));
    if board.is_none() {
        say::result(
            "  (the program fieldmark, which runs models, is neither beside this program nor on the PATH; take it from \
             a released archive,\n  or install it from the sources with `cargo install --locked --path runtime`)",
        );
    }
    for line in next_lines(board.as_deref().unwrap_or(Path::new("fieldmark")), &model, &overlay) {
        say::result(&format!("  {line}"));
    }
    Ok(())
}

/// What was typed for a subcommand, after its line is printed.
fn stage<T: Args>(name: &'static str, words: &[OsString]) -> Result<T> {
    say::aside(&format!("$ {}", line(Command::new("fieldmark-trainer").arg(name).args(words))));
    parsed(name, words)
}

fn parsed<T: Args>(name: &'static str, words: &[OsString]) -> Result<T> {
    let command = command().find_subcommand(name).cloned().with_context(|| format!("no command {name}"))?;
    let matches = command
        .try_get_matches_from([OsStr::new(name)].into_iter().chain(words.iter().map(OsString::as_os_str)));
    Ok(T::from_arg_matches(&matches?)?)
}

/// A path that no program takes for an option.
fn plain(path: &Path) -> PathBuf {
    if path.as_os_str().as_encoded_bytes().starts_with(b"-") {
        Path::new(".").join(path)
    } else {
        path.to_owned()
    }
}

impl MakeArgs {
    fn data(&self) -> Option<&Path> {
        self.data.as_deref().or(self.named.as_deref())
    }

    /// Whether photos are trained on from published weights: drawn birds and chosen networks are not.
    fn wants_weights(&self) -> bool {
        let chosen = ["weights", "backbone", "config"].iter().any(|name| self.typed.has(name));
        let from_weights = self.typed.value("recipe").is_none_or(|recipe| recipe == "photos");
        self.data().is_some() && !self.scratch && !self.quick && !chosen && from_weights
    }

    fn train_words(&self, data: &Path, run: &Path) -> Result<Vec<OsString>> {
        let mut words = vec![data.into()];
        words.extend(self.typed.words(None));
        for (name, value) in QUICK_TRAIN.into_iter().filter(|(name, _)| self.quick && !self.typed.has(name)) {
            words.extend(words_of(name, Some(value.as_ref())));
        }
        if self.wants_weights() {
            words.extend(words_of("weights", Some(cached(Name::EfficientnetLite0)?.as_os_str())));
        }
        words.extend(words_of("out", Some(run.as_os_str())));
        Ok(words)
    }

    /// Of `eval` and of `report`.
    fn measure_words(&self, data: &Path, run: &Path) -> Vec<OsString> {
        let mut words = vec![run.into()];
        words.extend(words_of("data", Some(data.as_os_str())));
        words.extend(self.typed.words(Some("device")));
        words
    }

    fn export_words(&self, data: &Path, run: &Path, model: &Path) -> Vec<OsString> {
        let mut words = vec![run.into()];
        words.extend(words_of("data", Some(data.as_os_str())));
        words.extend(words_of("out", Some(model.as_os_str())));
        words.extend(self.if_quick(&QUICK_EXPORT));
        // The toy of `--quick` shows the way and is not to be relied on.
        words.extend((self.anyway || self.quick).then(|| "--anyway".into()));
        words
    }

    fn synth_words(&self) -> Vec<OsString> {
        let mut words = self.if_quick(&QUICK_SYNTH);
        words.extend(self.typed.words(Some("seed")));
        words
    }

    fn if_quick(&self, words: &[&str]) -> Vec<OsString> {
        if self.quick { words.iter().map(OsString::from).collect() } else { Vec::new() }
    }
}

/// Of `lint`, on the pictures as `rule` splits them in training.
fn lint_words(data: &Path, rule: &SplitRule) -> Vec<OsString> {
    let options = |rule: &SplitRule| {
        [
            ("seed", Some(rule.seed.to_string())),
            ("validation", Some(rule.validation.to_string())),
            ("test", Some(rule.test.to_string())),
            ("group-by", rule.group.map(|GroupBy::Prefix(by)| by.to_string())),
        ]
    };
    let mut words = vec![data.into()];
    for ((name, value), default) in options(rule).into_iter().zip(options(&SplitRule::default())) {
        let differing = value.filter(|value| Some(value) != default.1.as_ref());
        words.extend(differing.map(|value| words_of(name, Some(value.as_ref()))).into_iter().flatten());
    }
    words
}

/// Draws the birds, unless an earlier run has: under another name first, so that the folder is whole or absent. The names
/// with a dot are ours alone, and one program's at a time.
fn birds(args: &MakeArgs, out: &Path) -> Result<PathBuf> {
    let [whole, unfinished, lock] = ["birds", ".birds.unfinished", ".birds.lock"].map(|name| out.join(name));
    let mut words = args.synth_words();
    let wanted = line(Command::new("fieldmark-trainer").arg("synth").args(&words));
    if whole.exists() {
        refuse_other_birds(&whole, &wanted)?;
        return Ok(whole);
    }
    fs::create_dir_all(out).with_context(|| format!("cannot make {}", out.display()))?;
    let held = File::create(&lock).with_context(|| format!("cannot write {}", lock.display()))?;
    if let Err(TryLockError::WouldBlock) = held.try_lock() {
        bail!(
            "another program draws birds in {}; wait for it, or choose another folder (--out)",
            out.display()
        );
    }
    if unfinished.exists() {
        fs::remove_dir_all(&unfinished).with_context(|| format!("cannot remove {}", unfinished.display()))?;
    }
    words.push(unfinished.clone().into());
    synth::run(&stage::<SynthArgs>("synth", &words)?)?;
    fs::write(unfinished.join(DRAWN_BY), wanted)
        .and_then(|()| fs::rename(&unfinished, &whole))
        .with_context(|| format!("cannot finish {}", whole.display()))?;
    let _ = fs::remove_file(&lock);
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

/// The board's program: beside this one, or where a shell finds it.
fn board() -> Option<PathBuf> {
    let name = format!("fieldmark{}", env::consts::EXE_SUFFIX);
    let beside = env::current_exe().ok().map(|path| path.with_file_name(&name)).filter(|path| path.is_file());
    beside.or_else(|| on_path(&name))
}

/// What to type now, as a shell takes it.
fn next_lines(board: &Path, model: &Path, overlay: &Path) -> [String; 3] {
    let here = env::current_dir().unwrap_or_default();
    let board = quoted(board.strip_prefix(here).unwrap_or(board));
    let [model, overlay] = [model, overlay].map(quoted);
    [
        format!("{board} predict {model} MY_PICTURE.jpg --cues --overlay {overlay}"),
        format!("{board} inspect {model}"),
        format!("{board} verify {model}"),
    ]
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Cli {
        #[command(flatten)]
        args: MakeArgs,
    }

    fn typed(words: &str) -> Option<MakeArgs> {
        Cli::try_parse_from(["make"].into_iter().chain(words.split_whitespace())).ok().map(|cli| cli.args)
    }

    /// The line of training on `DATA` into `run`.
    fn train_line(words: &str) -> String {
        let words = typed(words).unwrap().train_words(Path::new("DATA"), Path::new("run")).unwrap();
        line(Command::new("train").args(words))
    }

    #[test]
    fn options_reach_training_in_any_order_and_either_spelling() {
        for (words, expected) in [
            ("", "train DATA --out run"),
            ("--xi 2 photos --scratch --balanced", "train DATA --balanced --xi 2 --out run"),
            ("--weights=own.pth photos --seed=3", "train DATA --seed 3 --weights own.pth --out run"),
            ("--data photos --seed 3 --weights own.pth", "train DATA --seed 3 --weights own.pth --out run"),
            ("--mu=-1", "train DATA --mu=-1 --out run"),
            (
                "--allow missing,unexpected --weights w",
                "train DATA --weights w --allow missing --allow unexpected --out run",
            ),
            ("--norms learn", "train DATA --norms learn --out run"),
            ("--quick --epochs 5", "train DATA --epochs 5 --side 96 --batch 16 --out run"),
        ] {
            assert_eq!(train_line(words), expected, "{words}");
        }
        for wrong in [
            "--weights a --scratch",
            "--weights a --weights=b",
            "photos --data photos",
            "--epochs two",
            "a b",
        ] {
            assert!(typed(wrong).is_none(), "{wrong}");
        }
    }

    #[test]
    fn lint_looks_at_the_split_that_training_makes() {
        for (rule, expected) in [
            (SplitRule::default(), "lint DATA"),
            (
                SplitRule { seed: 7, validation: 0.25, test: 0.0, group: Some(GroupBy::Prefix('-')) },
                "lint DATA --seed 7 --validation 0.25 --test 0 --group-by=-",
            ),
        ] {
            let words = lint_words(Path::new("DATA"), &rule);
            assert_eq!(line(Command::new("lint").args(words)), expected);
        }
    }

    #[test]
    fn photos_are_trained_on_from_published_weights_unless_told_otherwise() {
        for (words, wants) in [
            ("photos", true),
            ("--data photos", true),
            ("", false),
            ("--scratch photos", false),
            ("photos --quick", false),
            ("photos --backbone=resnet18", false),
            ("photos --weights own.pth", false),
            ("photos --weights=own.pth", false),
            ("photos --recipe scratch", false),
            ("photos --recipe photos", true),
            ("photos --epochs 3", true),
        ] {
            assert_eq!(typed(words).unwrap().wants_weights(), wants, "{words}");
        }
    }

    #[test]
    fn birds_that_were_drawn_otherwise_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        refuse_other_birds(folder.path(), "fieldmark-trainer synth").unwrap();
        fs::write(folder.path().join(DRAWN_BY), "fieldmark-trainer synth").unwrap();
        refuse_other_birds(folder.path(), "fieldmark-trainer synth").unwrap();
        let error = refuse_other_birds(folder.path(), "fieldmark-trainer synth --seed 2").unwrap_err();
        assert!(error.to_string().contains("choose another --out"), "{error}");
    }

    #[test]
    fn what_to_type_next_survives_a_shell() {
        let board = env::current_dir().unwrap().join("target/debug/fieldmark");
        let [predict, inspect, _] = next_lines(&board, Path::new("my out/model.onnx"), Path::new("o"));
        let expected = "target/debug/fieldmark predict 'my out/model.onnx' MY_PICTURE.jpg --cues --overlay o";
        assert_eq!(predict, expected);
        assert_eq!(inspect, "target/debug/fieldmark inspect 'my out/model.onnx'");
    }
}
