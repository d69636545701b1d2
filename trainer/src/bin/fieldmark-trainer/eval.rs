//! `fieldmark-trainer eval`: a run on its test split, or on other labelled pictures.

use std::path::Path;

use anyhow::{Context, Result, bail};
use fieldmark::file::write_whole;
use fieldmark_trainer::data::dataset::{self, Labelled, Sample};
use fieldmark_trainer::measure::answers::{Answered, answers};
use fieldmark_trainer::measure::calibration::{self, Fitted};
use fieldmark_trainer::measure::doubts::doubts;
use fieldmark_trainer::measure::eval::{self, Measured};
use fieldmark_trainer::measure::faithfulness;
use fieldmark_trainer::net::device;
use fieldmark_trainer::run::folder::{self, Trained};
use fieldmark_trainer::run::records::{self, Comparison, Evaluation};

use crate::args::EvalArgs;
use crate::predictions::{Predictions, Row};
use crate::{checkpoint, progress, say};

/// Runs the subcommand.
///
/// # Errors
/// A run or pictures that cannot be read, and figures that cannot be written.
pub fn run(args: &EvalArgs) -> Result<()> {
    match &args.on {
        None => on_test_split(args).map(drop),
        Some(pictures) => on_others(args, pictures),
    }
}

/// The run on its test split; returns what it has written.
///
/// # Errors
/// As [`run`].
pub fn on_test_split(args: &EvalArgs) -> Result<Evaluation> {
    let trained = opened(args)?;
    let measured = measured(&trained, args, records::comparison(&args.run)?.as_ref())?;
    let path = args.run.join(records::EVAL);
    let json = serde_json::to_string_pretty(&measured.evaluation)? + "\n";
    write_whole(&path, json.as_bytes()).with_context(|| format!("cannot write {}", path.display()))?;
    say::evaluation(&measured.evaluation, "test pictures");
    say::doubts(&doubts(&measured.evaluation, trained.dataset.validation.len()));
    if let Some(file) = &args.predictions {
        let labels = &trained.progress.labels;
        write(file, labels, labels, &measured.fitted, [(&trained.dataset.test[..], &measured.answers[..])])?;
    }
    Ok(measured.evaluation)
}

/// The run on the labelled `pictures`, which decide nothing: temperature and threshold are those of its validation split.
fn on_others(args: &EvalArgs, pictures: &Path) -> Result<()> {
    let mut trained = opened(args)?;
    let Labelled { known, strangers, other_labels, skipped } =
        dataset::labelled(pictures, &trained.progress.labels)?;
    say::skipped(&skipped, "");
    if known.is_empty() && strangers.is_empty() {
        bail!(
            "{} has no labelled pictures; name a folder that has a folder of JPEG or PNG pictures for each class, or a CSV list",
            pictures.display()
        );
    }
    let comparison = records::comparison(&args.run)?;
    trained.dataset.test = known;
    trained.dataset.field_marks.clear();
    let (of_known, fitted) = if trained.dataset.test.is_empty() {
        (Vec::new(), calibration::fit(&trained, eval::score(comparison.as_ref()))?)
    } else {
        let Measured { evaluation, answers, fitted } = measured(&trained, args, comparison.as_ref())?;
        say::evaluation(&evaluation, "pictures of its classes");
        say::doubts(&doubts(&evaluation, trained.dataset.validation.len()));
        (answers, fitted)
    };
    let input = trained.progress.config.input();
    let of_strangers = answers(&trained.network, &strangers.iter().collect::<Vec<_>>(), input)?;
    if !strangers.is_empty() {
        say::rejected(&of_strangers, &other_labels, &fitted);
    }
    if let Some(file) = &args.predictions {
        let labels = &trained.progress.labels;
        let names = [labels.as_slice(), &other_labels].concat();
        let all = [(&trained.dataset.test[..], &of_known[..]), (&strangers, &of_strangers)];
        write(file, labels, &names, &fitted, all)?;
    }
    Ok(())
}

fn opened(args: &EvalArgs) -> Result<Trained> {
    let device = device::open(args.device, args.precision)?;
    let mut trained = folder::open(&args.run, args.data.as_deref(), checkpoint::chosen(args.last))?;
    trained.network = trained.network.on(&device, args.precision)?;
    Ok(trained)
}

fn measured(trained: &Trained, args: &EvalArgs, comparison: Option<&Comparison>) -> Result<Measured> {
    let mut measured = eval::measure(trained, comparison)?;
    if args.faithfulness {
        let bar = progress::picture_bar()?;
        let figures = faithfulness::faithfulness(trained, args.pictures.get(), &bar);
        bar.finish_and_clear();
        measured.evaluation.faithfulness = Some(figures?);
    }
    Ok(measured)
}

/// A row a picture. `labels`: the network's; `names`: those of all classes that pictures show.
fn write<const N: usize>(
    file: &Path,
    labels: &[String],
    names: &[String],
    fitted: &Fitted,
    all: [(&[Sample], &[Answered]); N],
) -> Result<()> {
    let mut predictions = Predictions::new(labels);
    for (sample, answered) in all.iter().flat_map(|(samples, answered)| samples.iter().zip(*answered)) {
        predictions.add(&Row { path: &sample.path, label: &names[sample.class], answered, fitted });
    }
    write_whole(file, &predictions.csv).with_context(|| format!("cannot write {}", file.display()))
}
