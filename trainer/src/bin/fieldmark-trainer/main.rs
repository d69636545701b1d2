//! The trainer's program: `fieldmark-trainer synth | lint | train | eval | unknown | export | report | weights`.

mod args;
mod leave_out;
mod say;
mod stop;

use std::num::NonZeroUsize;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicI32;

use anyhow::{Context, Result};
use clap::Parser;
use fieldmark::file::write_whole;
use fieldmark_trainer::data::synth::{SynthConfig, draw_dataset};
use fieldmark_trainer::data::{dataset, lint};
use fieldmark_trainer::measure::unknown::DEFAULT_SCORE;
use fieldmark_trainer::measure::{eval, faithfulness};
use fieldmark_trainer::net::backbone::Convention;
use fieldmark_trainer::net::device::Precision;
use fieldmark_trainer::net::weights::Misfit;
use fieldmark_trainer::net::{device, network, ops, weights};
use fieldmark_trainer::publish::{export, report, tensorboard};
use fieldmark_trainer::run::folder;
use fieldmark_trainer::training::train;
use fieldmark_trainer::training::train::TrainError;
use indicatif::{ProgressBar, ProgressStyle};

use args::{Cli, Command, EvalArgs, ExportArgs, LintArgs, ReportArgs, SynthArgs, TrainArgs, WeightsArgs};

fn main() -> ExitCode {
    ops::keep_freed_memory();
    let done = match Cli::parse().command {
        Command::Synth(args) => synth(&args),
        Command::Lint(args) => match lint(&args) {
            Ok(lint) if args.strict && lint.has_warnings() => return ExitCode::FAILURE,
            other => other.map(drop),
        },
        Command::Train(args) => train(&args),
        Command::Eval(args) => eval(&args),
        Command::Unknown(args) => leave_out::run(&args),
        Command::Export(args) => export(&args),
        Command::Report(args) => report(&args),
        Command::Weights(args) => rewrite_weights(&args),
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
            say::aside(&format!("error: {}", say::chain(&error)));
            ExitCode::FAILURE
        }
    }
}

fn synth(args: &SynthArgs) -> Result<()> {
    let config = SynthConfig {
        classes: args.classes,
        per_class_train: args.train,
        per_class_test: args.test,
        side: args.side,
        seed: args.seed,
    };
    draw_dataset(&args.out, &config)?;
    let (train, test) = (args.classes * args.train, args.classes * args.test);
    let out = args.out.display();
    say::aside(&format!(
        "{train} training and {test} test pictures of {} species are in {out}",
        args.classes
    ));
    Ok(())
}

fn lint(args: &LintArgs) -> Result<lint::Lint> {
    use_threads(args.threads)?;
    let rule = args.split.rule(args.seed);
    let dataset = dataset::read(&args.data, &rule)?;
    let pictures = dataset.train.len() + dataset.validation.len() + dataset.test.len();
    let bar = ProgressBar::new(pictures as u64)
        .with_style(ProgressStyle::with_template("{bar:30} picture {pos}/{len}  {per_sec}  {eta} left")?);
    let lint = lint::lint(&dataset, &rule, &|| bar.inc(1));
    bar.finish_and_clear();
    say::result(lint::table(&lint).trim_end());
    if let Some(path) = &args.json {
        let json = serde_json::to_string_pretty(&lint)? + "\n";
        write_whole(path, json.as_bytes()).with_context(|| {
            format!("cannot write {}; name a file in a folder that is there", path.display())
        })?;
    }
    Ok(lint)
}

fn train(args: &TrainArgs) -> Result<()> {
    use_threads(args.threads)?;
    let mut config = args.config();
    config.check()?;
    let allow = args.allow.iter().copied().map(Misfit::from).collect();
    let pretrained = args
        .weights
        .as_deref()
        .map(|file| weights::read(file, config.network.backbone, args.convention.map(Convention::from)))
        .transpose()?;
    if let Some(pretrained) = &pretrained {
        config.network.convention = Some(pretrained.origin.convention);
        config.pretrained = Some(pretrained.start(&allow));
    }
    let device = device::open(args.device.into(), config.precision)?;
    let dataset = dataset::read(&args.data, &config.split)?;
    say::dataset(&dataset);
    let network = network::build(&config.network, dataset.labels.len(), config.side, config.seed)?;
    if let Some(pretrained) = &pretrained {
        say::loaded(&pretrained.load(&network.params, &allow)?, pretrained);
    }
    let network = network.on(&device, config.precision)?;
    say::network(&network, config.side)?;
    let (bar, stop) = watched()?;
    let steps = args.checkpoint_steps.map(NonZeroUsize::get);
    let outcome = train::train(&network, &dataset, &config, &args.out, steps, &bar, &stop);
    bar.finish_and_clear();
    let outcome = outcome?;
    say::outcome(&outcome, &args.out);
    Ok(())
}

fn use_threads(threads: Option<NonZeroUsize>) -> Result<()> {
    let Some(threads) = threads else { return Ok(()) };
    rayon::ThreadPoolBuilder::new().num_threads(threads.get()).build_global().context("--threads")
}

/// Counts pictures as their number becomes known.
fn picture_bar() -> Result<ProgressBar> {
    let style = ProgressStyle::with_template("{bar:30} picture {pos}/{len}  {eta} left")?;
    Ok(ProgressBar::new(0).with_style(style))
}

/// A progress bar, and the signal that asks for the end.
fn watched() -> Result<(ProgressBar, Arc<AtomicI32>)> {
    let bar = ProgressBar::new(0)
        .with_style(ProgressStyle::with_template("{bar:30} step {pos}/{len}  {per_sec}  {msg}  {eta} left")?);
    let stop = stop::on_signal(&bar).context("cannot wait for Ctrl-C")?;
    Ok((bar, stop))
}

fn eval(args: &EvalArgs) -> Result<()> {
    let precision = args.precision.into();
    let device = device::open(args.device.into(), precision)?;
    let mut trained = folder::open(&args.run, args.data.as_deref(), chosen(args.last))?;
    trained.network = trained.network.on(&device, precision)?;
    let mut evaluation = eval::evaluate(&trained, folder::comparison(&args.run)?.as_ref())?;
    if args.faithfulness {
        let bar = picture_bar()?;
        let measured = faithfulness::faithfulness(&trained, args.pictures.get(), &bar);
        bar.finish_and_clear();
        evaluation.faithfulness = Some(measured?);
    }
    let path = args.run.join(folder::EVAL);
    let json = serde_json::to_string_pretty(&evaluation)? + "\n";
    write_whole(&path, json.as_bytes()).with_context(|| format!("cannot write {}", path.display()))?;
    say::evaluation(&evaluation);
    Ok(())
}

fn export(args: &ExportArgs) -> Result<()> {
    let trained = folder::open(&args.run, args.data.as_deref(), chosen(args.last))?;
    let evaluation = folder::evaluation(&args.run, &trained.weights)?;
    let score = folder::comparison(&args.run)?.map_or(DEFAULT_SCORE, |comparison| comparison.chosen);
    let weights = args.weights.into();
    let exported = export::export(&trained, &args.out, weights, args.pictures, score, evaluation.as_ref())?;
    say::exported(&exported, &args.out);
    Ok(())
}

fn rewrite_weights(args: &WeightsArgs) -> Result<()> {
    let mut pretrained = weights::read(&args.file, args.backbone, args.convention.map(Convention::from))?;
    for (said, typed) in
        [(&mut pretrained.origin.source, &args.source), (&mut pretrained.origin.licence, &args.licence)]
    {
        if !typed.is_empty() {
            said.clone_from(typed);
        }
    }
    pretrained.save(&args.out)?;
    let foreign = pretrained.foreign();
    if !foreign.is_empty() {
        say::aside(&format!("left out, no layer of {} has them: {}", args.backbone, foreign.join(", ")));
    }
    say::result(&format!("{}", args.out.display()));
    Ok(())
}

fn report(args: &ReportArgs) -> Result<()> {
    if let Some(folder) = &args.tensorboard {
        return events(&args.run, folder);
    }
    let path = args.out.clone().unwrap_or_else(|| args.run.join(folder::REPORT));
    refuse_inside(&args.run, &path, folder::REPORT)?;
    let device = device::open(args.device.into(), Precision::F32)?;
    let mut trained = folder::open(&args.run, args.data.as_deref(), chosen(args.last))?;
    trained.network = trained.network.on(&device, Precision::F32)?;
    let bar = picture_bar()?;
    let html = report::report(&trained, &args.run, args.last, &bar);
    bar.finish_and_clear();
    let html = html?;
    write_whole(&path, html.as_bytes()).with_context(|| format!("cannot write {}", path.display()))?;
    say::result(&format!("{} ({:.1} MB)", path.display(), html.len() as f64 / 1e6));
    Ok(())
}

fn events(run: &Path, folder: &Path) -> Result<()> {
    let path = folder.join(folder::EVENTS);
    refuse_inside(run, &path, folder::EVENTS)?;
    let events =
        tensorboard::events(&folder::metrics(run)?, folder::began(run), folder::training_pictures(run)?);
    std::fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    write_whole(&path, &events).with_context(|| format!("cannot write {}", path.display()))?;
    say::result(&format!("{}", path.display()));
    Ok(())
}

/// A run with files or folders in it that it knows nothing of could not be gone on with.
fn refuse_inside(run: &Path, path: &Path, own: &str) -> Result<()> {
    anyhow::ensure!(
        !path.starts_with(run) || path == run.join(own),
        "{} lies inside the run's folder, which holds nothing but the run's own files; choose a place outside of it, or {}",
        path.display(),
        run.join(own).display()
    );
    Ok(())
}

fn chosen(last: bool) -> &'static str {
    if last { folder::LAST } else { folder::BEST }
}
